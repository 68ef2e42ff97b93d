import type { Template } from '@tidemark/proto';
import { fill } from './origin.ts';

/** As for tags that applications give; see http/fields.ts. */
const MAX_TAGS = 64;
const MAX_TAG_BYTES = 512;
const encoder = new TextEncoder();

/** The tags of a value that was loaded, or why it cannot be stored: with a tag left out, some change would not evict it. */
export type ValueTags =
  | { readonly ok: true; readonly tags: readonly string[] }
  | { readonly ok: false; readonly detail: string };

/** Fills each template in with the values of each row. */
export function tagsOf(templates: readonly Template[], rows: readonly ReadonlyMap<string, string>[]): ValueTags {
  const tags = new Set<string>();
  for (const row of templates.length === 0 ? [] : rows) {
    for (const template of templates) {
      const tag = fill(template, row);
      if (encoder.encode(tag).length > MAX_TAG_BYTES)
        return { ok: false, detail: `found a longer tag by ${template.text}, expected at most ${MAX_TAG_BYTES} bytes` };
      tags.add(tag);
      if (tags.size > MAX_TAGS)
        return { ok: false, detail: `found more tags, expected at most ${MAX_TAGS} of a value` };
    }
  }
  return { ok: true, tags: [...tags] };
}
