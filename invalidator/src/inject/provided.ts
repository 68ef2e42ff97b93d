import { readFile } from 'node:fs/promises';
import type { CertificateFacts, Pair } from '../core/injection/renewal.ts';
import { readPair } from './pem.ts';

export interface ProvidedOptions {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly onPair: (pair: Pair, facts: CertificateFacts) => void;
}

/**
 * Shows a certificate that others keep in files (cert-manager, an operator). The kubelet replaces files by swapping a symbolic
 * link above them, which watches of the files miss, so {@link turn} reads them again and again and compares.
 */
export class ProvidedCertificates {
  readonly #options: ProvidedOptions;
  #shown: Pair | undefined;

  constructor(options: ProvidedOptions) {
    this.#options = options;
  }

  /** One look at the files. Rejects where they cannot be used; what is shown stays. */
  async turn(): Promise<void> {
    const { certificateFile, keyFile, onPair } = this.#options;
    const [certificate, key] = await Promise.all([readFile(certificateFile, 'utf8'), readFile(keyFile, 'utf8')]);
    if (this.#shown?.certificate === certificate && this.#shown.key === key) return;
    let facts: CertificateFacts;
    try {
      facts = readPair({ certificate, key });
    } catch (error) {
      throw new Error(`${certificateFile} and ${keyFile}: ${(error as Error).message}`, { cause: error });
    }
    onPair({ certificate, key }, facts);
    this.#shown = { certificate, key };
  }
}
