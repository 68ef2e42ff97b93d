import type { Coalescer } from './coalescer.ts';
import { NOBODY, type Outcome } from './flights.ts';
import type { L2Look } from './l2-look.ts';
import type { Namespace } from './namespace.ts';

/**
 * Gets a value that nobody waits for into L1, as a read would: from L2, else by the namespace's loader, under a lease and with the
 * checks of any other fill (SPEC I5 to I7). So nothing that is warmed can be older than what a caller would have got.
 *
 * @param settle told once how it ended, unless this is false: then somebody is getting it anyway, or too many wait
 */
export function warmRead(
  { coalescer, look }: { readonly coalescer: Coalescer; readonly look: L2Look },
  namespace: Namespace,
  key: string,
  settle: (outcome: Outcome) => void,
): boolean {
  const { flights } = namespace;
  if (flights.get(key) !== undefined) return false;
  const flight = flights.open(key);
  if (coalescer.join(namespace, flight, { ...NOBODY, settle }) === undefined) {
    flights.close(flight);
    return false;
  }
  if (!look.available(namespace)) coalescer.handOver(namespace, flight);
  else {
    look.look(namespace, flight, (seen) => {
      if (seen !== 'served' && seen !== 'gone') coalescer.handOver(namespace, flight);
    });
  }
  return true;
}
