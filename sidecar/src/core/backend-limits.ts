import type { TidemarkConfig } from '@tidemark/proto';

/** What a document asks for that cannot be had on memcached, a line each: what was found, what is expected, and why. */
export function beyondMemcached(document: TidemarkConfig, source: string): readonly string[] {
  const issues: string[] = [];
  const buckets = document.sources[source]?.l2.buckets ?? 1;
  if (buckets > 1) {
    issues.push(
      `sources.${source}.l2.buckets: found ${buckets}, expected 1 with TIDEMARK_MEMCACHED_URL: there is no fence log that could be divided, and keys are spread over the servers anyway`,
    );
  }
  for (const [name, { warm, source: of }] of Object.entries(document.namespaces)) {
    if (of !== source || warm === undefined || warm.sql !== undefined) continue;
    const needs = `expected warm.sql with TIDEMARK_MEMCACHED_URL: the list of what is read most is kept in Redis only`;
    if (warm.atStart > 0) issues.push(`namespaces.${name}.warm.atStart: found ${warm.atStart}, ${needs}; or 0`);
    for (const when of ['every', 'cron'] as const)
      if (warm[when] !== undefined) issues.push(`namespaces.${name}.warm.${when}: found it without sql, ${needs}`);
  }
  return issues;
}
