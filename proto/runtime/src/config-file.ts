import { readFileSync } from 'node:fs';
import { parseConfig, type ConfigIssue, type TidemarkConfig } from '@tidemark/proto';
import { parseDocument } from 'yaml';

/** A document that cannot be used; the message names the file and every issue, one a line. */
export class ConfigFileError extends Error {
  override name = 'ConfigFileError';
  readonly file: string;
  readonly issues: readonly ConfigIssue[];

  constructor(file: string, issues: readonly ConfigIssue[]) {
    super(issues.map(({ path, message }) => `${file}: ${path === '' ? '' : `${path}: `}${message}`).join('\n'));
    this.file = file;
    this.issues = issues;
  }
}

/** Reads and checks the YAML (or JSON) document with sources and namespaces. Throws {@link ConfigFileError} with every issue at once. */
export function loadConfigFile(path: string): TidemarkConfig {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigFileError(path, [
      { path: '', message: `cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})` },
    ]);
  }
  return parseConfigText(path, text);
}

/** The same for a text that was read already; `file` names it in messages. */
export function parseConfigText(file: string, text: string): TidemarkConfig {
  return parseConfigDocument(file, text).config;
}

/** A document as it was written, and what it means. */
export interface WrittenConfig {
  readonly document: {
    readonly sources: Readonly<Record<string, unknown>>;
    readonly namespaces?: Readonly<Record<string, object>>;
  };
  readonly config: TidemarkConfig;
}

/** The same, with the document as it was written, for those who pass it on. */
export function parseConfigDocument(file: string, text: string): WrittenConfig {
  const document = parseDocument(text, { uniqueKeys: true });
  if (document.errors.length > 0) {
    throw new ConfigFileError(
      file,
      // The parser's first line says what and where; the rest draws the place.
      document.errors.map((error) => ({
        path: '',
        message: `not YAML: ${error.message.split('\n')[0] ?? error.code}`,
      })),
    );
  }
  const written: unknown = document.toJS({ maxAliasCount: 100 });
  const result = parseConfig(written);
  if (!result.ok) throw new ConfigFileError(file, result.issues);
  return { document: written as WrittenConfig['document'], config: result.config };
}
