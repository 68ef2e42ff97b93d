/** Bytes of a text in UTF-8, without encoding it; a lone surrogate counts as U+FFFD, which is what encoders write. O(length). */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) {
      bytes += 1;
      continue;
    }
    bytes += 2;
    const pair = unit >= 0xd800 && unit < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
    if (pair) i += 1; // Two units, four bytes: both are counted already.
  }
  return bytes;
}
