import { configurationFaults } from './configuration.ts';
import type { FaultKind } from './fault.ts';
import { kafkaFaults } from './kafka.ts';
import { networkFaults } from './network.ts';
import { postgresFaults } from './postgres.ts';
import { processFaults } from './process.ts';
import { promotionFaults } from './promotion.ts';
import { redisFaults } from './redis.ts';

/** Every kind of fault there is. */
export const faultKinds: readonly FaultKind[] = [
  ...processFaults,
  ...networkFaults,
  ...redisFaults,
  ...kafkaFaults,
  ...postgresFaults,
  ...promotionFaults,
  ...configurationFaults,
];
