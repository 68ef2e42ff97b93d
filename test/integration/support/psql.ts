import pg from 'pg';

// A psql for machines without one, as far as the documents use it: psql [-q] [-A] [-t] URL -c STATEMENT.

const words = process.argv.slice(2);
const at = words.indexOf('-c');
const statement = words[at + 1];
const flags = words.filter((word) => /^-[qAt]+$/.test(word)).join('');
const url = words.find((word) => word.startsWith('postgres'));
if (at === -1 || statement === undefined || url === undefined || words.length > 6)
  throw new Error(`this psql knows psql [-qAt] URL -c STATEMENT only, not: psql ${words.join(' ')}`);

const client = new pg.Client({ connectionString: url, types: { getTypeParser: () => String } });
await client.connect();
try {
  const answers = await client.query({ text: statement, rowMode: 'array' });
  for (const { rows } of [answers].flat() as { rows: (string | null)[][] }[]) {
    if (rows.length > 0 && !(flags.includes('A') && flags.includes('t')))
      throw new Error('this psql prints rows only with -At');
    for (const row of rows) process.stdout.write(`${row.map((value) => value ?? '').join('|')}\n`);
  }
} finally {
  await client.end();
}
