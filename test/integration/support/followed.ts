import { startStack, type Stack } from '../../kit/index.ts';
import { Feed } from './feed.ts';

/** Servers of one's own with the tables that {@link Writers} write to, an invalidator that follows them, and its records. */
export async function startFollowed(): Promise<{ readonly stack: Stack; readonly feed: Feed }> {
  const stack = await startStack({
    sidecars: 0,
    applier: false,
    redis: false,
    servers: { postgres: { fsync: false } },
    initSql:
      'create table items (id bigint primary key, n int not null default 0); create table single (id int primary key)',
    config: { namespaces: { items: ruleFor('items', '{id}') } },
  });
  return { stack, feed: await Feed.open(stack) };
}

/** A namespace of the source `main` with one rule. */
export function ruleFor(table: string, ...keys: string[]) {
  return { source: 'main', invalidate: [{ table: `public.${table}`, keys }] };
}
