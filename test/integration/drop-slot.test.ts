import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { tidemark } from './support/command.ts';
import { eventually } from './support/eventually.ts';
import { showLogsOnFailure } from './support/stack.ts';

// The end of an installation: nothing of ours stays in Postgres, and nothing is dropped that is still used.

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    sidecars: 0,
    applier: false,
    redis: false,
    supervise: false,
    initSql: 'create table items (id int primary key)',
    config: { namespaces: { items: { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }] } } },
  });
});
afterAll(() => stack?.stop());
beforeEach(() => showLogsOnFailure(stack));

const dropSlot = (args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) =>
  tidemark(['drop-slot', ...args], {
    TIDEMARK_POSTGRES_URL: stack.postgres,
    TIDEMARK_SLOT: stack.slot,
    TIDEMARK_PUBLICATION: stack.publication,
    TIDEMARK_SOURCE: 'main',
    TIDEMARK_INSTANCE: 'drop-slot',
    ...env,
  });

async function present(): Promise<readonly [slots: number, publications: number]> {
  const slots = await stack.sql('select 1 from pg_replication_slots where slot_name = $1', [stack.slot]);
  const publications = await stack.sql('select 1 from pg_publication where pubname = $1', [stack.publication]);
  return [slots.length, publications.length];
}

describe('tidemark drop-slot', () => {
  it('refuses what is in use, and says by whom', async () => {
    const { code, stderr } = await dropSlot(['--wait', '1s']);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /is still used by "tidemark invalidator invalidator" \(process \d+ of Postgres, from 127\.0\.0\.1, since 20.*--terminate/,
    );
    expect(await present()).toEqual([1, 1]);
  });

  it('waits for an invalidator that ends, and drops slot and publication', async () => {
    const dropping = dropSlot();
    await eventually(async () =>
      expect(
        await stack.sql("select 1 from pg_stat_activity where application_name = 'tidemark drop-slot'"),
      ).not.toEqual([]),
    );
    await stack.invalidator.kill('SIGTERM');
    expect(await dropping).toEqual({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(
        /Dropped the slot \S+: Postgres keeps no more WAL for it\.\nDropped the publication \S+\.\n$/,
      ),
    });
    expect(await present()).toEqual([0, 0]);
  });

  it('is content where there is nothing', async () => {
    const { code, stdout } = await dropSlot();
    expect(code).toBe(0);
    expect(stdout).toBe(`There is no slot ${stack.slot}.\nThere is no publication ${stack.publication}.\n`);
  });

  it('ends who does not end by himself, and can leave the publication', async () => {
    await stack.invalidator.start();
    stack.invalidator.pause();
    const { code, stdout } = await dropSlot(['--terminate', '--keep-publication']);
    stack.invalidator.resume();
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^Dropped the slot \S+:[^\n]*\n$/)]);
    expect((await present())[1]).toBe(1);
    await stack.invalidator.kill('SIGTERM');
    expect((await dropSlot()).code).toBe(0);
    expect(await present()).toEqual([0, 0]);
  });

  it('finds the names by the source, and says what it needs', async () => {
    const { code, stdout } = await dropSlot([], {
      TIDEMARK_SLOT: '',
      TIDEMARK_PUBLICATION: '',
      TIDEMARK_SOURCE: 'no-one',
    });
    expect([code, stdout]).toEqual([
      0,
      'There is no slot tidemark_no_one.\nThere is no publication tidemark_no_one.\n',
    ]);
    const { stderr } = await dropSlot([], { TIDEMARK_PUBLICATION: '', TIDEMARK_SOURCE: '' });
    expect(stderr).toMatch(/^TIDEMARK_SOURCE: found nothing, expected the name of the source/);
  });

  it("never drops somebody else's slot", async () => {
    const name = `${stack.slot}_foreign`;
    await stack.sql('select pg_create_physical_replication_slot($1)', [name]);
    const { code, stderr } = await dropSlot([], { TIDEMARK_SLOT: name });
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining(`slot ${name} is a physical slot, expected a logical slot`),
    ]);
    await stack.sql('select pg_drop_replication_slot($1)', [name]);
  });
});
