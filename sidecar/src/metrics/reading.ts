import { Counter, Gauge, type Registry } from 'prom-client';

/** Gives the value of one set of labels. */
export type Give = (labels: Readonly<Record<string, string>>, value: number) => void;

/** A metric whose values live elsewhere, and are read when somebody asks. */
export interface Reading {
  readonly name: string;
  readonly help: string;
  /** Names of its labels. None may have values that callers choose. */
  readonly labels?: readonly string[];
  /** Gives all values, anew each time. */
  readonly read: (give: Give) => void;
}

export function readCounter(registry: Registry, { name, help, labels = [], read }: Reading): void {
  const counter = new Counter({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect: () => {
      counter.reset();
      read((of, value) => counter.inc(of, value));
    },
  });
}

export function readGauge(registry: Registry, { name, help, labels = [], read }: Reading): void {
  const gauge = new Gauge({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect: () => {
      gauge.reset();
      read((of, value) => gauge.set(of, value));
    },
  });
}
