import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Helm, startHelm } from '../kit/kube/index.ts';
import { minimal, render, renderText } from './chart.ts';

let helm: Helm;
beforeAll(async () => {
  helm = await startHelm();
});
afterAll(() => helm.remove());

const digest = `sha256:${'0'.repeat(64)}`;

/** What is set on top of the least there is, and what helm says of it. */
const mistakes: readonly [title: string, set: readonly string[], said: RegExp][] = [
  ['an unknown value', ['imag.tag=1'], /additional properties 'imag' not allowed/],
  [
    'an unknown value further down',
    ['invalidator.lease.durration=1s'],
    /\/invalidator\/lease.*'durration' not allowed/,
  ],
  ['a wrong type', ['invalidator.replicas=two'], /\/invalidator\/replicas.*got string, want integer/],
  ['a duration without a unit', ['sidecar.maxStaleness=5'], /\/sidecar\/maxStaleness/],
  ['a mistyped part of a namespace', ['namespaces.a.ttl.hart=1m'], /\/namespaces\/a\/ttl.*'hart' not allowed/],
  ['a mistyped rule', ['namespaces.a.invalidate[0].tables=public.a'], /\/invalidate\/0.*'tables' not allowed/],
  [
    'a table without its schema',
    ['namespaces.a.invalidate[0].table=users'],
    /\/invalidate\/0\/table.*does not match pattern/,
  ],
  ['a source in a namespace', ['namespaces.a.source=main'], /'source' not allowed/],
  [
    'a namespace without rules',
    ['namespaces.a.ttl.hard=1m'],
    /namespaces\.a\.invalidate: found no rule, expected at least one/,
  ],
  [
    'a rule that evicts nothing',
    ['namespaces.a.invalidate[0].table=public.a'],
    /found neither keys nor tags for public\.a/,
  ],
  [
    'containers without requests',
    ['sidecar.resources.requests=null'],
    /\/sidecar\/resources.*missing propert.*requests/,
  ],
  ['a digest of another form', ['image.digest=latest'], /\/image\/digest/],
  ['no broker', ['kafka.brokers=null'], /kafka\.brokers: found none, expected HOST:PORT/],
  ['no database', ['postgres.url='], /postgres: found neither url nor existingSecret/],
  ['a database twice', ['postgres.existingSecret=pg'], /postgres: found both url and existingSecret, .* remove url/],
  ['a Redis twice', ['redis.url=redis://r:1,redis.existingSecret=r'], /redis: found both url and existingSecret/],
  [
    'a login twice',
    ['kafka.sasl.mechanism=plain,kafka.sasl.existingSecret=k,kafka.sasl.password=p'],
    /kafka\.sasl: found both/,
  ],
  [
    'half a login',
    ['kafka.sasl.mechanism=plain,kafka.sasl.username=u'],
    /kafka\.sasl: found a mechanism without a login/,
  ],
  ['a login without a mechanism', ['kafka.sasl.existingSecret=k'], /kafka\.sasl: found a login without mechanism/],
  [
    'a login that sidecars cannot get',
    ['kafka.sasl.mechanism=plain,kafka.sasl.existingSecret=k'],
    /injection\.credentialsSecret: found none/,
  ],
  [
    'certificates twice',
    ['kafka.tls.enabled=true,kafka.tls.ca=a,kafka.tls.existingSecret=k'],
    /kafka\.tls: found both existingSecret and PEM/,
  ],
  ['half a certificate', ['postgres.tls.cert=a'], /postgres\.tls: found only one of cert and key/],
  ['certificates without TLS', ['kafka.tls.ca=a'], /kafka\.tls: found certificates although enabled is false/],
  ['certificates for a plain Redis', ['redis.url=redis://r:1,redis.tls.ca=a'], /expected rediss:/],
  [
    'Redis and memcached',
    ['redis.url=redis://r:1,sidecar.memcachedUrl=memcached://m:1'],
    /sidecar\.memcachedUrl: found it beside a Redis/,
  ],
  [
    'a password of memcached for all to read',
    ['sidecar.memcachedUrl=memcached://u:p@m:1'],
    /sidecar\.memcachedUrl: found a login/,
  ],
  ['a password for all to read', ['sidecar.redisUrl=redis://:p@r:1'], /sidecar\.redisUrl: found a login/],
  [
    'a certificate that is nowhere',
    ['injection.certificates.mode=provided'],
    /without existingSecret[\s\S]*without caBundle/,
  ],
  ['a certificate that nobody looks at', ['injection.certificates.existingSecret=a'], /expected mode provided/],
];

it.each(mistakes)('%s is refused, and helm says where and what was expected', async (_, set, said) => {
  const sets = set.flatMap((each) => ['--set', each]);
  await expect(renderText(helm, [minimal], ...sets)).rejects.toThrow(said);
});

it('all that is wrong is told at once', async () => {
  const sets = ['--set', 'kafka.brokers=null,postgres.url=,redis.tls.key=k'];
  const told = await renderText(helm, [minimal], ...sets).catch((error: Error) => error.message);
  expect(told.match(/^- /gm)).toHaveLength(3);
});

describe('what the API server has to offer', () => {
  const bare = ['template', 'demo', 'charts/tidemark', '--values', minimal];

  it.each<[string, string, RegExp]>([
    ['policies', 'injection.mode=policy', /does not serve MutatingAdmissionPolicy.*injection\.mode=webhook/],
    ['cert-manager', 'injection.certificates.mode=cert-manager', /install cert-manager first/],
    ['Prometheus Operator', 'monitoring.enabled=true', /install Prometheus Operator first/],
  ])('without %s helm says what to install or to choose instead', async (_, set, said) => {
    await expect(helm.run(...bare, '--set', set)).rejects.toThrow(said);
  });

  it('before 1.29 the sidecar is an ordinary container, and native ones are refused', async () => {
    const old = ['--kube-version', '1.28.0'];
    expect(await renderText(helm, [minimal], ...old)).toContain('mode: container');
    expect(await renderText(helm, [minimal])).toContain('mode: native');
    const asked = renderText(helm, [minimal], ...old, '--set', 'injection.sidecarMode=native');
    await expect(asked).rejects.toThrow(/expected 1\.29 or newer/);
  });

  it('before 1.30 the webhook has no match conditions, so no pod may depend on it', async () => {
    const old = ['--kube-version', '1.29.0'];
    expect(await renderText(helm, [minimal], ...old)).not.toContain('matchConditions');
    const asked = renderText(helm, [minimal], ...old, '--set', 'injection.failurePolicy=Fail');
    await expect(asked).rejects.toThrow(/found Fail on Kubernetes v1\.29\.0, expected 1\.30 or newer/);
  });

  it('versions of Kubernetes that nobody looks after are refused', async () => {
    await expect(renderText(helm, [minimal], '--kube-version', '1.26.0')).rejects.toThrow(
      /incompatible with Kubernetes v1\.26\.0/,
    );
  });
});

it('a digest names the image, whatever the tag', async () => {
  const objects = await render(helm, [minimal], '--set', `image.digest=${digest},image.tag=x`);
  const images = JSON.stringify(objects).match(/ghcr\.io\/tidemark\/tidemark[^"\\]*/g) ?? [];
  expect(images.length).toBeGreaterThan(2);
  expect(new Set(images)).toEqual(new Set([`ghcr.io/tidemark/tidemark@${digest}`]));
});
