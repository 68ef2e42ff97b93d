import { describe, expect, it } from 'vitest';
import { parseConfig } from './config.ts';
import { ConfigIntake } from './config-intake.ts';

function world(source?: string) {
  const told: string[] = [];
  const intake = new ConfigIntake({
    source,
    begin: (first) => {
      told.push(`begin ${first.source} ${first.sourceConfig.topic}`);
      let before = '';
      return {
        take: ({ namespaces }) => {
          const now = Object.keys(namespaces).join();
          const isNew = now !== before;
          before = now;
          return { isNew, now };
        },
      };
    },
    events: {
      taken: ({ now }, { revision }) => void told.push(`${revision}: ${now}`),
      refused: (why) => void told.push(why),
      differs: (settings) => void told.push(settings.join()),
    },
  });
  let revision = 0;
  const offer = (sources: Record<string, object>, ...names: readonly string[]) => {
    const [first = ''] = Object.keys(sources);
    const namespaces = Object.fromEntries(names.map((name) => [name, { source: first, invalidation: 'ttl_only' }]));
    const parsed = parseConfig({ sources, namespaces });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    intake.offer({ config: parsed.config, source: first, term: 1, revision: (revision += 1) });
  };
  return { told, intake, offer };
}

describe('[I16] at run time', () => {
  it('namespaces are taken; the first document says which source is served', () => {
    const { told, intake, offer } = world();
    expect([intake.stamp, intake.complaint]).toEqual([undefined, undefined]);
    offer({ main: { topic: 't' } }, 'a');
    offer({ main: { topic: 't' } }, 'a', 'b');
    offer({ main: { topic: 't' } }, 'a', 'b');
    expect(told).toEqual(['begin main t', '1: a', '2: a,b', '3: a,b']);
    expect(intake.stamp).toEqual({ term: 1, revision: 3 });
    expect(intake.counters).toEqual({ applied: 2, unchanged: 1, refused: 0 });
  });

  it.each([['main'], [undefined]])('another source than %s is not, whenever it comes', (source) => {
    const { told, intake, offer } = world(source);
    if (source === undefined) offer({ main: { topic: 't' } }, 'a');
    offer({ other: { topic: 'x' } }, 'b');
    expect(told.at(-1)).toBe('the document is for source other, expected main: the namespaces of before stay');
    expect(intake.complaint).toBe(told.at(-1));
    offer({ main: { topic: 't' } }, 'c');
    expect([told.at(-1), intake.complaint]).toEqual([`${source === undefined ? 3 : 2}: c`, undefined]);
    expect(intake.counters.refused).toBe(1);
  });

  it('other settings of the source are not, and are told of until they are as they were', () => {
    const { told, intake, offer } = world();
    offer({ main: { topic: 't' } }, 'a');
    offer({ main: { topic: 'u', l2: { buckets: 2, maxFences: 5000 } } }, 'a', 'b');
    expect(told.slice(-2)).toEqual(['2: a,b', 'topic,l2.buckets,l2.maxFences']);
    expect(intake.complaint).toContain('sources.main: topic, l2.buckets, l2.maxFences differ');
    offer({ main: { topic: 't' } }, 'a');
    expect(intake.complaint).toBeUndefined();
  });
});
