import { CPU, IMAGE, LOG_LEVEL, MEMORY, NAMESPACE_LIST, OBJECT_NAME, SOURCE, SWITCH, type Form } from './forms.ts';

/** A pod with this annotation gets the sidecar: `enabled` (or `true`); with `disabled` (or `false`) it is left alone. */
export const INJECT_ANNOTATION = 'tidemark.dev/inject';
/** What we write beside the sidecar; with it the container named like ours is known to be ours. */
export const STATUS_ANNOTATION = 'tidemark.dev/status';
const OVERRIDE_PREFIX = 'config.tidemark.dev/';
/** Whose sidecar a pod shall get, where several releases are in a cluster. */
export const SOURCE_ANNOTATION = `${OVERRIDE_PREFIX}source`;

/** What a pod may say for itself, by the name behind `config.tidemark.dev/`. */
const OVERRIDES = {
  image: IMAGE,
  'log-level': LOG_LEVEL,
  'cpu-request': CPU,
  'memory-request': MEMORY,
  'cpu-limit': CPU,
  'memory-limit': MEMORY,
  namespaces: NAMESPACE_LIST,
  source: SOURCE,
  secret: OBJECT_NAME,
  socket: SWITCH,
} as const satisfies Record<string, Form>;

export type Overrides = { readonly [name in keyof typeof OVERRIDES]?: string };
export type Annotations = Readonly<Record<string, string>>;

/** Whether a pod asks for the sidecar; a word that is neither yes nor no is a mistake that its author shall hear of. */
export function asksForSidecar(annotations: Annotations): boolean | { readonly mistake: string } {
  const found = annotations[INJECT_ANNOTATION];
  if (found === undefined) return false;
  const mistake = mistakeIn(INJECT_ANNOTATION, found, SWITCH);
  return mistake === undefined ? isOn(found) : { mistake };
}

/** The overrides, or everything that is wrong with them. An unknown name would silently keep a default, so it is wrong. */
export function readOverrides(annotations: Annotations): Overrides | { readonly mistakes: readonly string[] } {
  const overrides: Record<string, string> = {};
  const mistakes: string[] = [];
  for (const [annotation, found] of Object.entries(annotations)) {
    if (!annotation.startsWith(OVERRIDE_PREFIX)) continue;
    const name = annotation.slice(OVERRIDE_PREFIX.length);
    const mistake = isOverride(name)
      ? mistakeIn(annotation, found, OVERRIDES[name])
      : `${brief(annotation)}: there is no such setting, expected one of ${Object.keys(OVERRIDES).join(', ')}`;
    if (mistake === undefined) overrides[name] = found;
    else mistakes.push(mistake);
  }
  return mistakes.length > 0 ? { mistakes } : overrides;
}

/** Whether a switch ({@link SWITCH}) says yes. */
export function isOn(found: string): boolean {
  return found === 'enabled' || found === 'true';
}

function isOverride(name: string): name is keyof typeof OVERRIDES {
  return Object.hasOwn(OVERRIDES, name);
}

function mistakeIn(annotation: string, found: string, form: Form): string | undefined {
  if (form.pattern.test(found)) return undefined;
  return `${annotation}: found ${JSON.stringify(brief(found))}, expected ${form.expected}`;
}

function brief(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60).toWellFormed()}...` : text;
}
