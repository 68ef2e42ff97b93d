/** A setting that is well formed, but does not fit the others. */
export class SettingError extends Error {
  override name = 'SettingError';
}
