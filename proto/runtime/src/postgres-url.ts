import { certificateFile, keyFile } from './tls-files.ts';

/** A connection string of Postgres whose TLS files can be read. Throws an Error that says what was expected. */
export function postgresUrl(found: string): string {
  if (!/^postgres(ql)?:\/\//.test(found) || !URL.canParse(found))
    throw new Error('expected postgres://USER:PASSWORD@HOST:PORT/DATABASE');
  const mode = new URL(found).searchParams.get('sslmode');
  if (mode !== null && !SSL_MODES.includes(mode)) throw new Error(`expected ${SSL_MODES.join(', ')} for sslmode`);
  // pg reads them at each connection, and would fail there.
  for (const [name, check] of Object.entries(TLS_FILES)) {
    const path = new URL(found).searchParams.get(name);
    if (path !== null) inParameter(name, () => check(path));
  }
  return found;
}

/** Those that pg knows. It takes any other word for verify-full, `disabled` and `allow` too. */
const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];

const TLS_FILES = { sslrootcert: certificateFile, sslcert: certificateFile, sslkey: keyFile };

function inParameter(name: string, check: () => unknown): void {
  try {
    check();
  } catch (error) {
    throw new Error(`${(error as Error).message} in ${name}`, { cause: error });
  }
}
