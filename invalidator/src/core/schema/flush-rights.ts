/** What `tidemark flush` does with its tables; whoever owns them may. */
const RIGHTS = {
  'tidemark.flush_progress': ['SELECT', 'INSERT', 'UPDATE'],
  'tidemark.flush_places': ['SELECT', 'INSERT', 'DELETE'],
  'tidemark.parked_writes': ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
};

const needed = Object.entries(RIGHTS).flatMap(([table, rights]) => rights.map((right) => `('${table}', '${right}')`));

/** One row: `role`, quoted, and whether it `lacks` any of them. A list of privileges would ask for one of them only. */
export const FLUSH_RIGHTS_SQL = `select quote_ident(current_user) as role, bool_or(not has_table_privilege(t, p)) as lacks
  from (values ${needed.join(', ')}) as needed (t, p)`;

/** Statements that give a role, quoted, all of them. */
export function flushGrants(role: string): readonly string[] {
  return Object.entries(RIGHTS).map(([table, rights]) => `GRANT ${rights.join(', ')} ON ${table} TO ${role};`);
}
