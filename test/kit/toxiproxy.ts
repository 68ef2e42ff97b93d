import { setTimeout as wait } from 'node:timers/promises';
import { startChild } from './child.ts';
import { KitError } from './error.ts';
import type { Link, Links, Trouble } from './links.ts';
import { startServer } from './managed.ts';
import { freePort } from './ports.ts';

const host = '127.0.0.1';

interface Toxic {
  readonly type: string;
  readonly stream: 'upstream' | 'downstream';
  readonly attributes: Readonly<Record<string, number>>;
}

/** In toxiproxy's words, "upstream" is what a client sends and "downstream" what it gets. */
function toxicsOf(trouble: Exclude<Trouble, { kind: 'refused' }>): Toxic[] {
  switch (trouble.kind) {
    case 'silent': {
      const silence = (stream: Toxic['stream']): Toxic => ({ type: 'timeout', stream, attributes: { timeout: 0 } });
      if (trouble.toward === 'both') return [silence('upstream'), silence('downstream')];
      return [silence(trouble.toward === 'client' ? 'downstream' : 'upstream')];
    }
    case 'slow':
      return [
        {
          type: 'latency',
          stream: 'downstream',
          attributes: { latency: trouble.delayMs, jitter: trouble.jitterMs },
        },
      ];
    case 'torn':
      return [{ type: 'limit_data', stream: 'downstream', attributes: { bytes: trouble.afterBytes } }];
  }
}

/** Runs a toxiproxy and speaks its HTTP interface. */
export async function startToxiproxy(command: string): Promise<Links> {
  let port = await freePort();
  const api = async (method: string, path: string, body?: object): Promise<void> => {
    const response = await fetch(`http://${host}:${port}${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new KitError(`toxiproxy refused ${method} ${path}: ${response.status} ${text}`);
  };
  const server = await startServer(
    {
      port: () => port,
      choosePorts: async () => {
        port = await freePort();
      },
      launch: (log) => {
        const args = ['-host', host, '-port', `${port}`];
        const child = startChild({ command, args, env: { LOG_LEVEL: 'error' }, orphanSignal: 'SIGKILL', log });
        return { child, ready: answers(() => api('GET', '/version'), child.exited) };
      },
      remove: async () => undefined,
    },
    { name: 'toxiproxy', stopSignal: 'SIGTERM', graceMs: 2_000, startTimeoutMs: 60_000, supervise: false },
  );
  return {
    open: async (name, target) => {
      const at = await freePort();
      const path = `/proxies/${name}`;
      await api('POST', '/proxies', { name, listen: `${host}:${at}`, upstream: `${host}:${target}`, enabled: true });
      return linkOf(at, path, api);
    },
    stop: () => server.stop(),
  };
}

function linkOf(port: number, path: string, api: (method: string, path: string, body?: object) => Promise<void>): Link {
  const toxics: string[] = [];
  let enabled = true;
  const heal = async (): Promise<void> => {
    enabled = true;
    for (const name of toxics.splice(0)) await api('DELETE', `${path}/toxics/${name}`);
    await api('POST', path, { enabled: true });
  };
  return {
    port,
    aim: (target) => api('POST', path, { upstream: `${host}:${target}`, enabled }),
    trouble: async (trouble) => {
      await heal();
      if (trouble.kind === 'refused') {
        enabled = false;
        await api('POST', path, { enabled });
        return;
      }
      for (const [index, toxic] of toxicsOf(trouble).entries()) {
        const name = `${toxic.type}-${index}`;
        await api('POST', `${path}/toxics`, { name, ...toxic });
        toxics.push(name);
      }
    },
    heal,
  };
}

async function answers(ask: () => Promise<void>, exited: Promise<unknown>): Promise<void> {
  let gone = false;
  void exited.then(() => (gone = true));
  while (!gone) {
    try {
      await ask();
      return;
    } catch {
      await wait(10);
    }
  }
}
