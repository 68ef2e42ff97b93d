import type { FaultKind } from './fault.ts';
import { processFaults } from './process.ts';
import { networkFaults } from './network.ts';
import { redisFaults } from './redis.ts';

/** Every kind of fault there is, by name. */
export const faultKinds: readonly FaultKind[] = [...processFaults, ...networkFaults, ...redisFaults];
