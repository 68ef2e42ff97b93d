import { readFileSync } from 'node:fs';
import { SettingError } from '@tidemark/runtime';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { OBJECT_NAME, SOURCE, type Form } from '../core/injection/forms.ts';
import { SIDECAR_NAME, type InjectionSettings } from '../core/injection/settings.ts';

const formed = ({ pattern, expected }: Form) => z.string().regex(pattern, `expected ${expected}`);

const DNS_LABEL: Form = {
  pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
  expected: 'a name of 1 to 63 of a-z, 0-9 and "-"',
};
const ABSOLUTE_PATH: Form = { pattern: /^\/[^:]{1,80}$/, expected: 'an absolute path of at most 81 characters' };
const ENV_NAME: Form = { pattern: /^[A-Za-z_][A-Za-z0-9_]*$/, expected: 'the name of an environment variable' };

const quantities = z.record(z.string(), z.string('expected a quantity as text, such as "100m"'));

/**
 * core/v1 Container: the fields by their names, so that a mistyped one is found when the process starts and not in pods. What
 * is not looked at here is the API server's to check. `restartPolicy` is missing because the mode decides it.
 */
const container = z.strictObject({
  name: z.literal(SIDECAR_NAME),
  image: z.string().min(1),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  workingDir: z.string().optional(),
  ports: z.array(z.looseObject({ containerPort: z.int() })).optional(),
  env: z.array(z.looseObject({ name: formed(ENV_NAME), value: z.string().optional() })).optional(),
  envFrom: z.array(z.looseObject({})).optional(),
  resources: z.looseObject({ requests: quantities.optional(), limits: quantities.optional() }).optional(),
  volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: formed(ABSOLUTE_PATH) })).optional(),
  startupProbe: z.looseObject({}).optional(),
  readinessProbe: z.looseObject({}).optional(),
  livenessProbe: z.looseObject({}).optional(),
  lifecycle: z.looseObject({}).optional(),
  terminationMessagePath: z.string().optional(),
  terminationMessagePolicy: z.string().optional(),
  imagePullPolicy: z.string().optional(),
  securityContext: z.looseObject({}).optional(),
});

/** The file that TIDEMARK_INJECTION names; {@link InjectionSettings} says what each field is for. */
const settings = z.strictObject({
  mode: z.enum(['native', 'container']),
  source: formed(SOURCE),
  container,
  volumes: z
    .array(
      z.looseObject({
        name: formed(DNS_LABEL).startsWith(SIDECAR_NAME, `expected a name that begins with ${SIDECAR_NAME}`),
      }),
    )
    .default([]),
  applicationEnv: z
    .array(z.looseObject({ name: formed(ENV_NAME), value: z.string() }))
    .default([{ name: 'TIDEMARK_URL', value: 'http://127.0.0.1:7070' }]),
  credentialsSecret: formed(OBJECT_NAME).optional(),
  socket: z
    .strictObject({
      enabled: z.boolean().default(false),
      directory: formed(ABSOLUTE_PATH).default('/run/tidemark'),
    })
    .prefault({}),
  excludedNamespaces: z.array(formed(DNS_LABEL)).default(['kube-system']),
});

/** Reads and checks the settings. Throws {@link SettingError} with every issue, one a line. */
export function readInjectionSettings(file: string): InjectionSettings {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new SettingError(
      `TIDEMARK_INJECTION: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`,
    );
  }
  return parseInjectionSettings(file, text);
}

/** The same for a text that was read already; `file` names it in messages. */
export function parseInjectionSettings(file: string, text: string): InjectionSettings {
  const document = parseDocument(text, { uniqueKeys: true });
  if (document.errors.length > 0)
    throw new SettingError(
      document.errors.map(({ message }) => `${file}: not YAML: ${message.split('\n')[0]}`).join('\n'),
    );
  const result = settings.safeParse(document.toJS({ maxAliasCount: 100 }));
  if (result.success) return result.data;
  throw new SettingError(
    result.error.issues.map(({ path, message }) => `${file}: ${path.map(String).join('.')}: ${message}`).join('\n'),
  );
}
