import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Link, Links, Trouble } from './links.ts';
import { freePort } from './ports.ts';

const host = '127.0.0.1';

/** The same as toxiproxy, as far as {@link Links} go, in this process. */
export async function startOwnLinks(): Promise<Links> {
  const links: OwnLink[] = [];
  return {
    open: async (_name, target) => {
      const link = new OwnLink(await freePort(), target);
      links.push(link);
      await link.heal();
      return link;
    },
    stop: async () => {
      await Promise.all(links.map((link) => link.trouble({ kind: 'refused' })));
    },
  };
}

class OwnLink implements Link {
  readonly port: number;
  #target: number;
  #server: Server | undefined;
  #trouble: Trouble | undefined;
  readonly #ends = new Set<() => void>();

  constructor(port: number, target: number) {
    this.port = port;
    this.#target = target;
  }

  async aim(target: number): Promise<void> {
    this.#target = target;
    this.#endAll();
  }

  async trouble(trouble: Trouble): Promise<void> {
    const lostBytes = this.#trouble?.kind === 'silent';
    this.#trouble = trouble;
    if (lostBytes || trouble.kind === 'refused') this.#endAll();
    if (trouble.kind === 'refused') await this.#close();
    else await this.#listen();
  }

  async heal(): Promise<void> {
    if (this.#trouble?.kind === 'silent') this.#endAll();
    this.#trouble = undefined;
    await this.#listen();
  }

  #endAll(): void {
    for (const end of this.#ends) end();
  }

  async #close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  async #listen(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer((near) => this.#join(near));
    this.#server = server;
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(this.port, host, resolve));
  }

  #join(near: Socket): void {
    const far = connect(this.#target, host);
    const end = (): void => {
      this.#ends.delete(end);
      near.destroy();
      far.destroy();
    };
    this.#ends.add(end);
    for (const socket of [near, far]) socket.on('error', end).on('close', end);
    near.on('data', (request: Buffer) => {
      if (!this.#swallows('server')) far.write(request);
    });
    let passed = 0;
    far.on('data', (answer: Buffer) => {
      const trouble = this.#trouble;
      if (this.#swallows('client')) return;
      passed += answer.length;
      if (trouble?.kind === 'torn' && passed >= trouble.afterBytes) {
        near.write(answer.subarray(0, Math.max(0, answer.length - (passed - trouble.afterBytes))), end);
      } else if (trouble?.kind === 'slow') {
        setTimeout(() => near.write(answer), trouble.delayMs);
      } else near.write(answer);
    });
  }

  #swallows(toward: 'client' | 'server'): boolean {
    const trouble = this.#trouble;
    return trouble?.kind === 'silent' && (trouble.toward === 'both' || trouble.toward === toward);
  }
}
