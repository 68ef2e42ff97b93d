import { Histogram, type Registry } from 'prom-client';

/** Told of a namespace and of how long something took in it. */
export type Observe = (namespace: string, ms: number) => void;

/**
 * How long something takes, by namespace. What is not served any more is forgotten when somebody asks, whoever ended last there: documents may
 * name others all the time, and no set of labels may grow without a limit.
 */
export function observeTimes(
  registry: Registry,
  { name, help, isServed }: { name: string; help: string; isServed: (namespace: string) => boolean },
): Observe {
  const seen = new Set<string>();
  const histogram = new Histogram({
    name,
    help,
    labelNames: ['namespace'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
    collect: () => {
      for (const namespace of seen) {
        if (isServed(namespace)) continue;
        seen.delete(namespace);
        histogram.remove({ namespace });
      }
    },
  });
  return (namespace, ms) => {
    seen.add(namespace);
    histogram.observe({ namespace }, ms / 1000);
  };
}
