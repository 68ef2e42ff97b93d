import { optional, text } from '@tidemark/runtime';

// How values of the environment are read that only this service has. Each throws an Error that begins with "expected".

/** Longest name of a slot: NAMEDATALEN - 1. */
const SLOT_NAME = /^[a-z0-9_]{1,63}$/;

/** How the API server is found, by whoever needs it. */
export const kubeconfigFile = optional('TIDEMARK_KUBECONFIG', {
  description: "file that leads to the API server (default: the pod's service account)",
  parse: text,
});

/** A name that Postgres takes for a slot. */
export function slotName(found: string): string {
  if (!SLOT_NAME.test(found)) throw new Error('expected 1 to 63 of a-z, 0-9 and "_"');
  return found;
}

/** An URL of HTTP, with or without TLS. */
export function httpUrl(found: string): string {
  if (!/^https?:\/\//.test(found) || !URL.canParse(found)) throw new Error('expected http://HOST:PORT');
  return found;
}
