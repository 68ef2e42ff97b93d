import { createServer } from 'node:https';
import { setTimeout as wait } from 'node:timers/promises';
import {
  closeServer,
  createHealthServer,
  createLogger,
  formatAddress,
  guardServer,
  listen,
  runUntilSignal,
  type Logger,
} from '@tidemark/runtime';
import { injectConfig } from './config.ts';
import { decide } from './core/injection/inject.ts';
import type { CertificateFacts, Pair } from './core/injection/renewal.ts';
import { createInjectionRoutes } from './http/injection-routes.ts';
import type { InjectConfig, SelfSigned } from './config/injection.ts';
import { makePair } from './inject/make-pair.ts';
import { InjectMetrics } from './inject/metrics.ts';
import { splitCertificates } from './inject/pem.ts';
import { ProvidedCertificates } from './inject/provided.ts';
import { readReview } from './http/admission-review.ts';
import { Rationed } from './inject/rationed.ts';
import { SelfSignedCertificates } from './inject/self-signed.ts';

const SHUTDOWN_MS = 10_000;
/** An endpoint that is going away is still called until every API server has heard of it. */
const LINGER_MS = 3_000;
/** The API server gives up after the webhook's `timeoutSeconds` (at most 30 s), so no request may take longer. */
const REQUEST_MS = 10_000;
/** Go's clients keep idle connections for 90 s; the end that closes first must be theirs, or a request gets lost. */
const KEEP_ALIVE_MS = 120_000;
const MAX_CONNECTIONS = 512;
/** Log lines a minute about pods that are not injected; the metric counts all of them. */
const MAX_WARNINGS = 60;
/** Between two looks at the certificate, and how long API servers may take to learn whom to trust; less where lives are short. */
const LOOK_EVERY_MS = 10_000;
const SETTLE_MS = 10_000;

/** `inject`: answers the API server's questions about pods until a signal. */
export async function inject(): Promise<void> {
  const config = injectConfig(process.env);
  const logger = createLogger({ service: 'webhook', instance: config.instance, level: config.logLevel });
  const metrics = new InjectMetrics();
  let unready: string | undefined = 'no certificate yet';
  const health = createHealthServer({ unready: () => unready, metrics: () => metrics.render() });
  logger.info({ http: formatAddress(await listen(health, config.listen)) }, 'listening');

  const { settings } = config;
  // Whoever reaches the port may send what is no review, as often as they like.
  const warnings = new Rationed({ most: MAX_WARNINGS, perMs: 60_000 });
  const routes = createInjectionRoutes({
    read: readReview,
    decide: ({ pod, namespace }) =>
      pod === undefined ? { outcome: 'skipped', warnings: [] } : decide(pod, namespace, settings),
    onOutcome: (told) => {
      metrics.reviewed(told);
      const { outcome, namespace } = told;
      if (outcome === 'refused' || outcome === 'malformed') {
        const unsaid = warnings.admit(performance.now());
        if (unsaid !== undefined) logger.warn({ outcome, namespace, unsaid }, 'a pod is not injected');
      }
      logger.debug({ outcome, namespace }, 'reviewed');
    },
    onError: (error) => logger.error({ err: error }, 'a review failed'),
  });
  const server = guardServer(createServer({ minVersion: 'TLSv1.2', handshakeTimeout: REQUEST_MS }, routes), {
    maxConnections: MAX_CONNECTIONS,
    requestTimeoutMs: REQUEST_MS,
    keepAliveMs: KEEP_ALIVE_MS,
  });
  server.on('tlsClientError', (error: NodeJS.ErrnoException) =>
    logger.debug({ code: error.code }, 'a TLS handshake failed'),
  );
  const onPair = (pair: Pair, { notAfterMs }: CertificateFacts): void => {
    server.setSecureContext({ cert: pair.certificate, key: pair.key, minVersion: 'TLSv1.2' });
    metrics.loaded(notAfterMs);
    logger.info({ notAfter: new Date(notAfterMs).toISOString() }, 'showing a certificate');
  };
  const certificates = await openCertificates(config, { onPair, logger });
  const stop = new AbortController();
  const looking = look(certificates.turn, {
    everyMs: certificates.everyMs,
    stop: stop.signal,
    onTurn: async (failure) => {
      if (failure !== undefined) metrics.certificateFailed();
      if (unready === undefined) return;
      if (failure !== undefined) {
        unready = failure;
        return;
      }
      logger.info({ webhook: formatAddress(await listen(server, config.webhookListen)) }, 'listening');
      logger.info('ready');
      unready = undefined;
    },
    logger,
  });

  await runUntilSignal({
    logger,
    deadlineMs: SHUTDOWN_MS,
    // It resolves only when it was stopped.
    failed: looking as Promise<never>,
    steps: [
      {
        name: 'certificates',
        // A look that is under way may wait for an API server that is gone; nothing is lost without its end.
        run: () => {
          unready = 'stopping';
          stop.abort();
        },
      },
      { name: 'linger', run: () => (server.listening ? wait(LINGER_MS) : undefined) },
      { name: 'webhook', run: () => (server.listening ? closeServer(server, 5_000) : undefined) },
      { name: 'http', run: () => closeServer(health, 1_000) },
    ],
  });
}

interface Certificates {
  readonly turn: () => Promise<void>;
  readonly everyMs: number;
}

async function openCertificates(
  { certificates, instance }: InjectConfig,
  context: { readonly onPair: (pair: Pair, facts: CertificateFacts) => void; readonly logger: Logger },
): Promise<Certificates> {
  if (certificates.mode === 'self-signed') return openSelfSigned(certificates, { ...context, instance });
  const provided = new ProvidedCertificates({ ...certificates, ...context });
  return { turn: () => provided.turn(), everyMs: LOOK_EVERY_MS };
}

/** Its adapters bring the Kubernetes library, which nobody else needs here. */
async function openSelfSigned(
  { secret, configuration, hosts, lifeMs, kubeconfig }: SelfSigned,
  context: {
    readonly onPair: (pair: Pair, facts: CertificateFacts) => void;
    readonly logger: Logger;
    readonly instance: string;
  },
): Promise<Certificates> {
  const [{ openKubeClient }, { openCertificateSecret, openWebhookTrust }] = await Promise.all([
    import('./adapters/kube-client.ts'),
    import('./adapters/kube-certificates.ts'),
  ]);
  const client = await openKubeClient(kubeconfig);
  const { CoreV1Api, AdmissionregistrationV1Api } = client.library;
  const selfSigned = new SelfSignedCertificates({
    ...context,
    store: openCertificateSecret({
      api: client.api(CoreV1Api),
      namespace: client.namespace,
      name: secret,
      manager: `tidemark-${context.instance}`.slice(0, 128),
      split: splitCertificates,
    }),
    trust: openWebhookTrust({
      api: client.api(AdmissionregistrationV1Api),
      name: configuration,
      split: splitCertificates,
    }),
    make: (nowMs) => makePair({ hosts, lifeMs, nowMs }),
    hosts,
    settleMs: Math.min(SETTLE_MS, lifeMs / 10),
    clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now() },
  });
  return { turn: () => selfSigned.turn(), everyMs: Math.min(LOOK_EVERY_MS, lifeMs / 40) };
}

/** Looks again and again; a failure is told once, until it is another one. Rejects only where `onTurn` does. */
async function look(
  turn: () => Promise<void>,
  options: {
    readonly everyMs: number;
    readonly stop: AbortSignal;
    readonly onTurn: (failure: string | undefined) => Promise<void>;
    readonly logger: Logger;
  },
): Promise<void> {
  const { everyMs, stop, onTurn, logger } = options;
  let told: string | undefined;
  while (!stop.aborted) {
    let failure: string | undefined;
    try {
      await turn();
    } catch (error) {
      failure = (error as Error).message;
      if (failure !== told) logger.error({ err: error }, 'the certificate could not be looked after');
    }
    told = failure;
    await onTurn(failure);
    await wait(everyMs, undefined, { signal: stop }).catch(() => undefined);
  }
}
