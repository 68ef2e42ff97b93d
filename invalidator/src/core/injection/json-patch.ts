/** What JSON can say. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [field: string]: Json };

/** One operation of a JSON Patch (RFC 6902); nothing else is needed to get from one document to another. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string };

/**
 * The operations that turn `before` into `after`; none when they are equal. Touches as little as it can, so that the API server's
 * audit log shows what was done: elements that a list gained stand alone, and the rest is not written again.
 */
export function patchBetween(before: Json, after: Json, path = ''): readonly PatchOperation[] {
  if (isEqual(before, after)) return [];
  if (isList(before) && isList(after)) return listPatch(before, after, path);
  if (isObject(before) && isObject(after)) {
    const gone = Object.keys(before).filter((field) => !Object.hasOwn(after, field));
    return [
      ...gone.map((field) => ({ op: 'remove', path: below(path, field) }) as const),
      ...Object.entries(after).flatMap(([field, value]) =>
        Object.hasOwn(before, field)
          ? patchBetween(before[field] as Json, value, below(path, field))
          : [{ op: 'add', path: below(path, field), value } as const],
      ),
    ];
  }
  return [{ op: 'replace', path, value: after }];
}

/** One run of elements that came in is added; lists of one length are compared by place; any other is written anew. */
function listPatch(before: readonly Json[], after: readonly Json[], path: string): readonly PatchOperation[] {
  if (before.length === after.length)
    return after.flatMap((value, index) => patchBetween(before[index] as Json, value, `${path}/${index}`));
  const gained = after.length - before.length;
  const head = before.findIndex((value, index) => !isEqual(value, after[index] as Json));
  const start = head === -1 ? before.length : head;
  const tailFits = before.slice(start).every((value, index) => isEqual(value, after[start + gained + index] as Json));
  if (gained < 0 || !tailFits) return [{ op: 'replace', path, value: after }];
  return after
    .slice(start, start + gained)
    .map((value, index) => ({ op: 'add', path: `${path}/${start + index}`, value }));
}

/** RFC 6901, section 3. */
function below(path: string, field: string): string {
  return `${path}/${field.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

/** Whether both say the same, whatever the order of an object's fields. */
function isEqual(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (isList(a) && isList(b))
    return a.length === b.length && a.every((value, index) => isEqual(value, b[index] as Json));
  if (!isObject(a) || !isObject(b)) return false;
  const fields = Object.keys(a);
  return (
    fields.length === Object.keys(b).length &&
    fields.every((field) => Object.hasOwn(b, field) && isEqual(a[field] as Json, b[field] as Json))
  );
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function isObject(value: Json): value is { readonly [field: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
