import { describe, expect, it } from 'vitest';
import { servicesIn, translate, type Translation } from './rewrite.ts';

const by: Translation = {
  ip: '10.200.7.1',
  host: '127.200.7.1',
  paths: new Map([
    ['/etc/tidemark/config', '/tmp/pod/config'],
    ['/etc/tidemark/kafka-tls', '/tmp/pod/tls'],
  ]),
  outside: new Map([
    ['kafka.infra.svc:9092', '127.0.0.1:16001'],
    ['db.infra.svc:5432', '127.0.0.1:16002'],
  ]),
  services: new Map([['tide-invalidator.tidemark', '127.200.7.9']]),
};

describe('translate', () => {
  it.each([
    ['/etc/tidemark/config/tidemark.yaml', '/tmp/pod/config/tidemark.yaml'],
    [
      'postgres://u:p@db.infra.svc:5432/shop?sslrootcert=/etc/tidemark/kafka-tls/ca.crt',
      'postgres://u:p@127.0.0.1:16002/shop?sslrootcert=/tmp/pod/tls/ca.crt',
    ],
    ['/etc/tidemark/config-of-others/x', '/etc/tidemark/config-of-others/x'],
    ['kafka.infra.svc:9092,kafka.infra.svc:9092', '127.0.0.1:16001,127.0.0.1:16001'],
    ['http://tide-invalidator.tidemark.svc:7080', 'http://127.200.7.9:7080'],
    ['http://tide-invalidator.tidemark.svc.cluster.local:7080/x', 'http://127.200.7.9:7080/x'],
    ['http://nobody.knows.svc:1', 'http://nobody.knows.svc:1'],
    ['tide-invalidator.tidemark.svc', 'tide-invalidator.tidemark.svc'],
    ['0.0.0.0:7080', '127.200.7.1:7080'],
    ['http://127.0.0.1:7070', 'http://127.200.7.1:7070'],
    ['10.200.7.1:7080 and 10.200.7.11', '127.200.7.1:7080 and 10.200.7.11'],
    ['10.0.0.0', '10.0.0.0'],
    ['tidemark.main.config', 'tidemark.main.config'],
    ['15s', '15s'],
  ])('%s', (text, expected) => {
    expect(translate(text, by)).toBe(expected);
  });
});

describe('servicesIn', () => {
  it('finds names of Services, with and without the domain of the cluster, where a port follows', () => {
    expect(servicesIn('http://a.b.svc:1,https://c.d.svc.cluster.local:2/x e.f.svcs:3 g.h.svc')).toEqual(['a.b', 'c.d']);
  });
});
