import { expect, test } from 'vitest';
import { describeWentBack, SessionView } from './session-view.ts';

const at = (version: number) => [{ row: 'items/1', version }];

test('a user who is shown a row older than before is told of', () => {
  const view = new SessionView();
  expect(view.shown(at(2))).toBeUndefined();
  expect(view.shown(at(2))).toBeUndefined();
  expect(view.shown(at(3))).toBeUndefined();
  const back = view.shown(at(2));
  expect(back && describeWentBack(back)).toBe('was shown items/1 at version 2, but had seen version 3 before');
});

test('a user who does not find what he wrote is told of', () => {
  const view = new SessionView();
  view.shown(at(2));
  view.wrote(at(5));
  const back = view.shown([{ row: 'items/2', version: 1 }, ...at(4)]);
  expect(back && describeWentBack(back)).toBe('was shown items/1 at version 4, but had written version 5 before');
  expect(view.shown(at(5))).toBeUndefined();
});

test('a row that is gone is older than every version of it', () => {
  const view = new SessionView();
  view.shown(at(1));
  expect(view.shown(at(0))).toMatchObject({ version: 0, expectedVersion: 1 });
});

test('what a standby showed early binds caches, and not the primary', () => {
  const view = new SessionView();
  view.shown([{ row: 'items/1', version: 3, isOfStandby: true }]);
  expect(view.loaded(at(2))).toBeUndefined();
  expect(view.shown(at(2))).toMatchObject({ version: 2, expectedVersion: 3 });
  view.shown(at(3));
  expect(view.loaded(at(2))).toMatchObject({ version: 2, expectedVersion: 3 });
});
