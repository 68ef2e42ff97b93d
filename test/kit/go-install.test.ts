import { execFileSync } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { silent } from './error.ts';
import { goCommand } from './go-install.ts';
import { scratchFolder } from './scratch.ts';

describe('where there is no Go', () => {
  beforeEach(() => void vi.stubEnv('PATH', '/nowhere'));

  it('is fetched, and runs', async () => {
    const command = await goCommand(silent);
    expect(execFileSync(command, ['version'], { encoding: 'utf8' })).toMatch(/^go version go1\.26/);
  });

  it('is not taken from a proxy that gives something else, or nothing', async () => {
    const server = createServer((request, response) =>
      response.writeHead(request.url?.startsWith('/broken/') === true ? 500 : 200).end('no archive'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const cache = scratchFolder('cache');
    await chmod(cache.path, 0o755);
    onTestFinished(() => void server.close());
    onTestFinished(() => cache.remove());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    vi.stubEnv('TIDEMARK_CACHE', cache.path);
    vi.stubEnv('GOPROXY', `${url}/proxy,direct`);
    await expect(goCommand(silent)).rejects.toThrow('it was altered');
    vi.stubEnv('GOPROXY', `${url}/broken/`);
    await expect(goCommand(silent)).rejects.toThrow('answers 500. Install it');
    vi.stubEnv('GOPROXY', 'http://127.0.0.1:1');
    await expect(goCommand(silent)).rejects.toThrow('cannot be fetched');
  });
});
