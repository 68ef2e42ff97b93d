import { describeIssues, listOf } from '@tidemark/proto';
import { z } from 'zod';
import type { Decision, Pod } from '../core/injection/inject.ts';

/** Far beyond what etcd takes of one pod (1.5 MiB). */
const MOST = 10_000;
/** Longest name of a namespace (a DNS label, RFC 1123). */
const MOST_NAME_CHARS = 63;

const named = z.looseObject({ name: z.string() });
const container = z.looseObject({
  name: z.string(),
  env: listOf(named, MOST).optional(),
  envFrom: listOf(z.unknown(), MOST).optional(),
  volumeMounts: listOf(z.looseObject({ name: z.string(), mountPath: z.string() }), MOST).optional(),
});
/** One issue for all: a body of 3 MB has hundreds of thousands of them. */
const annotations = z.custom<Readonly<Record<string, string>>>(
  (found) =>
    typeof found === 'object' &&
    found !== null &&
    !Array.isArray(found) &&
    Object.values(found).every((value) => typeof value === 'string'),
  'expected texts by their names',
);
const pod = z.looseObject({
  metadata: z.looseObject({ annotations: annotations.optional() }),
  spec: z.looseObject({
    containers: listOf(container, MOST),
    initContainers: listOf(container, MOST).optional(),
    volumes: listOf(named, MOST).optional(),
    hostNetwork: z.boolean().optional(),
    restartPolicy: z.string().optional(),
  }),
});

/** What is read of an AdmissionReview (admission.k8s.io/v1); the rest is not looked at. */
const review = z.looseObject({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  request: z.looseObject({
    uid: z.string().min(1).max(128),
    operation: z.string(),
    namespace: z.string().max(MOST_NAME_CHARS).default(''),
    resource: z.looseObject({ group: z.string().default(''), resource: z.string() }),
    subResource: z.string().default(''),
    object: z.unknown(),
  }),
});

/** A request for a decision; `pod` is undefined for what is no pod that is being created. */
export interface AdmissionQuestion {
  readonly uid: string;
  readonly namespace: string;
  readonly pod: Pod | undefined;
}

/** Reads a review; a text instead of it says what is wrong with it. */
export function readReview(body: unknown): AdmissionQuestion | string {
  const parsed = review.safeParse(body);
  if (!parsed.success) return issuesOf(parsed.error, '');
  const { uid, namespace, operation, resource, subResource, object } = parsed.data.request;
  const isPod = resource.group === '' && resource.resource === 'pods' && subResource === '';
  if (!isPod || operation !== 'CREATE') return { uid, namespace, pod: undefined };
  const found = pod.safeParse(object);
  return found.success ? { uid, namespace, pod: found.data } : issuesOf(found.error, 'request.object.');
}

/** The answer to a review. */
export function answerReview(uid: string, decision: Decision): object {
  return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid, ...responseTo(decision) } };
}

function responseTo(decision: Decision): object {
  switch (decision.outcome) {
    case 'refused':
      return { allowed: false, status: { code: 422, reason: 'Invalid', message: decision.message } };
    case 'injected':
      return {
        allowed: true,
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(decision.patch)).toString('base64'),
        ...warningsOf(decision),
      };
    case 'skipped':
    case 'unchanged':
      return { allowed: true, ...warningsOf(decision) };
  }
}

function warningsOf({ warnings }: { readonly warnings: readonly string[] }): object {
  return warnings.length === 0 ? {} : { warnings };
}

/** Paths and what was expected there, never what was found: a pod may hold secrets. */
function issuesOf(error: z.ZodError, prefix: string): string {
  return `expected an AdmissionReview of admission.k8s.io/v1: ${describeIssues(error, prefix)}`;
}
