import { KitError } from '../../error.ts';

const factors: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
};

/** The number that a quantity such as 100m, 1.5Gi or 2 stands for. */
export function quantity(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)([a-zA-Z]*)$/.exec(text) ?? [];
  const factor = factors[unit];
  if (digits === '' || factor === undefined) throw new KitError(`"${text}" is no quantity that the pod runner knows.`);
  return Number(digits) * factor;
}
