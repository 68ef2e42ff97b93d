/** Which WAL positions are of: those of another system, or of another branch of its history, mean something else. */
export interface ServerIdentity {
  /** Undefined where it is not known. */
  readonly systemId: bigint | undefined;
  readonly timeline: number | undefined;
}

/**
 * Why positions of a server that was asked cannot be compared with those of the stream; undefined if they can (SPEC I5).
 *
 * @param server what it said of itself in the transaction that read the value
 * @param followed what the newest record said; a promotion begins a new epoch, in which no lease of before counts
 */
export function whyForeign(server: ServerIdentity, followed: ServerIdentity): string | undefined {
  const { systemId, timeline } = followed;
  // What nobody knows agrees with nothing.
  if (systemId === undefined || server.systemId !== systemId)
    return `it is system ${server.systemId ?? 'unknown'}, but the stream comes from system ${systemId ?? 'unknown'}`;
  if (timeline === undefined || server.timeline !== timeline)
    return `it is on timeline ${server.timeline ?? 'unknown'}, but the stream comes from timeline ${timeline ?? 'unknown'}`;
  return undefined;
}
