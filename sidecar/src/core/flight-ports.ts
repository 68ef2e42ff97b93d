import type { Flight } from './flights.ts';
import type { Namespace } from './namespace.ts';
import type { LoadFailure } from './ports.ts';

/** Loads the values of namespaces that have a loader; see loads.ts. */
export interface FlightLoader {
  /** Begins to load, or to load anew, what the flight is about. */
  begin(namespace: Namespace, flight: Flight): void;
  /** Why the key could not be loaded a moment ago; undefined where it may be tried. */
  failureOf(namespace: Namespace, key: string): LoadFailure | undefined;
}

/** Says when a flight may be loaded, so that nobody loads in vain or what another sidecar loads already; see clearance.ts. */
export interface FlightClearance {
  /** Whether a load that begins now would be in vain, so that it should wait a little. */
  isUnsettled(namespace: Namespace, key: string): boolean;
  /** Whether sidecars agree who loads. */
  isShared(namespace: Namespace): boolean;
  /** The flight boards once it may be loaded, or is served meanwhile. @param how.claims whether other sidecars are to agree */
  seek(namespace: Namespace, flight: Flight, how: { readonly claims: boolean }): void;
  /** A record was applied as a whole. */
  advanced(): void;
  /** The flight is over. @param shared settles when L2 has its value */
  release(flight: Flight, shared?: Promise<unknown>): void;
}

/** What works with a coalescer and is made after it. */
export interface Attached {
  readonly loads?: FlightLoader | undefined;
  readonly clearance?: FlightClearance | undefined;
  readonly ahead?: { advanced(): void } | undefined;
}
