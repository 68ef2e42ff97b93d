import { inject } from 'vitest';
import { attachServers, type Servers } from './servers.ts';

/**
 * The servers that all files of a test run share. They are not a test's to end, pause or flush as a whole: a test that
 * does so starts its own (`startStack`).
 */
export function sharedServers(): Servers {
  return attachServers(inject('servers'));
}
