import { readFileSync } from 'node:fs';
import { parseConfigDocument, type Logger } from '@tidemark/runtime';
import { canonicalJson } from '../core/canonical.ts';
import type { Written } from '../core/effective-config.ts';
import type { ConfigMetrics } from './config-metrics.ts';

/** The document of the file, as long as the process lives: the newest that was valid, also while another replica leads. */
export class ConfigDocument {
  readonly #options: {
    readonly file: string;
    readonly source: string;
    readonly logger: Logger;
    readonly metrics: ConfigMetrics;
  };
  readonly #first: Written;
  #current: Written;
  #complaint: string | undefined;
  #onChange: () => void = () => undefined;

  /** Reads the file; throws what {@link parseConfigDocument} throws. */
  constructor(options: {
    readonly file: string;
    readonly source: string;
    readonly logger: Logger;
    readonly metrics: ConfigMetrics;
  }) {
    const { file } = options;
    this.#options = options;
    this.#first = parseConfigDocument(file, readFileSync(file, 'utf8'));
    this.#current = this.#first;
  }

  get file(): string {
    return this.#options.file;
  }

  /** With the settings of the source as they were at the start. */
  get current(): Written {
    return this.#current;
  }

  /** What of the newest text is not taken, and why, for a person. */
  get complaint(): string | undefined {
    return this.#complaint;
  }

  /** Who is told of another document; one at a time. */
  set onChange(listener: () => void) {
    this.#onChange = listener;
  }

  /** Another text of the file. What is not valid changes nothing, and is told. */
  takeText(text: string): void {
    const { file, source, logger, metrics } = this.#options;
    let written: Written;
    try {
      written = parseConfigDocument(file, text);
      if (!Object.hasOwn(written.config.sources, source))
        throw new Error(`${file}: sources: found no ${source} any more, which this process works for`);
    } catch (error) {
      this.#refuse((error as Error).message, 'the document is not valid: the one before stays');
      return;
    }
    metrics.fileValid(true);
    this.#complaint = undefined;
    const { sources } = this.#first.config;
    if (canonicalJson(written.config.sources[source]) !== canonicalJson(sources[source])) {
      this.#complaint = `${file}: sources.${source} is another one than at the start, which stays until a restart`;
      logger.error(this.#complaint);
    }
    // The settings of the source are those that the stream, the caches and Redis were set up with.
    this.#current = {
      document: { ...written.document, sources: this.#first.document.sources },
      config: { ...written.config, sources },
    };
    this.#onChange();
  }

  /** The file cannot be read. */
  takeUnreadable(error: Error): void {
    this.#refuse(error.message, 'the document cannot be read: the one before stays');
  }

  #refuse(message: string, words: string): void {
    const { logger, metrics } = this.#options;
    metrics.fileValid(false);
    this.#complaint = message;
    logger.error({ issues: message }, words);
  }
}
