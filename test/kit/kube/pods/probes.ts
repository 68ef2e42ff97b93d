import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as wait } from 'node:timers/promises';
import type { V1Container, V1Probe } from '@kubernetes/client-node';
import { KitError } from '../../error.ts';

/** kubelet also asks more often than told while a container is not ready, so that it becomes ready faster. */
const whileNotReadyMs = 200;

export interface ProbeResults {
  readonly started: () => void;
  readonly ready: (isReady: boolean) => void;
  /** The startup or liveness probe has failed as often as it may. */
  readonly dead: (reason: string) => void;
}

/** Runs the probes of one run of a container until `signal`: the startup probe first, then the others. */
export async function runProbes(
  container: V1Container,
  host: string,
  results: ProbeResults,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { startupProbe, readinessProbe, livenessProbe } = container;
    if (startupProbe !== undefined) {
      const ask = asking(startupProbe, container, host);
      if (!(await untilSuccess(startupProbe, ask, signal))) {
        results.dead('the startup probe failed');
        return;
      }
    }
    results.started();
    if (readinessProbe === undefined) results.ready(true);
    await Promise.all([
      readinessProbe && watchReadiness(readinessProbe, asking(readinessProbe, container, host), results, signal),
      livenessProbe && watchLiveness(livenessProbe, asking(livenessProbe, container, host), results, signal),
    ]);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function untilSuccess(probe: V1Probe, ask: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  const { periodSeconds = 10, failureThreshold = 3 } = probe;
  const deadline = Date.now() + periodSeconds * failureThreshold * 1000;
  while (!(await ask())) {
    if (Date.now() > deadline) return false;
    await wait(whileNotReadyMs, undefined, { signal });
  }
  return true;
}

async function watchReadiness(
  probe: V1Probe,
  ask: () => Promise<boolean>,
  results: ProbeResults,
  signal: AbortSignal,
): Promise<void> {
  const { periodSeconds = 10, failureThreshold = 3 } = probe;
  for (let isReady = false, failures = 0; ;) {
    if (await ask()) {
      failures = 0;
      if (!isReady) results.ready((isReady = true));
    } else if (isReady && (failures += 1) >= failureThreshold) {
      results.ready((isReady = false));
    }
    await wait(isReady ? periodSeconds * 1000 : whileNotReadyMs, undefined, { signal });
  }
}

async function watchLiveness(
  probe: V1Probe,
  ask: () => Promise<boolean>,
  results: ProbeResults,
  signal: AbortSignal,
): Promise<void> {
  const { periodSeconds = 10, failureThreshold = 3, initialDelaySeconds = 0 } = probe;
  await wait(initialDelaySeconds * 1000, undefined, { signal });
  for (let failures = 0; failures < failureThreshold;) {
    await wait(periodSeconds * 1000, undefined, { signal });
    failures = (await ask()) ? 0 : failures + 1;
  }
  results.dead('the liveness probe failed');
}

function asking(probe: V1Probe, container: V1Container, host: string): () => Promise<boolean> {
  const { httpGet, timeoutSeconds = 1 } = probe;
  if (httpGet === undefined) {
    throw new KitError(`container ${container.name}: the pod runner knows only probes by httpGet.`);
  }
  const { path = '/', scheme = 'HTTP', port } = httpGet;
  const number = typeof port === 'number' ? port : container.ports?.find(({ name }) => name === port)?.containerPort;
  if (number === undefined) throw new KitError(`container ${container.name} has no port called ${port}.`);
  const url = `${scheme.toLowerCase()}://${host}:${number}${path}`;
  return () => succeeds(url, timeoutSeconds * 1000);
}

function succeeds(url: string, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const options = { signal: AbortSignal.timeout(timeoutMs), agent: false } as const;
    const request = url.startsWith('https:')
      ? httpsRequest(url, { ...options, rejectUnauthorized: false })
      : httpRequest(url, options);
    request.once('response', ({ statusCode = 0 }) => {
      resolve(statusCode >= 200 && statusCode < 400);
      request.destroy();
    });
    request.once('error', () => resolve(false));
    request.end();
  });
}
