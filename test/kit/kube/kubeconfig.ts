import { writeFile } from 'node:fs/promises';

/** A kubeconfig with one user; YAML holds JSON. */
export async function writeKubeconfig(
  path: string,
  access: { readonly url: string; readonly ca: string; readonly token: string; readonly namespace: string },
): Promise<string> {
  const name = 'tidemark-test';
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name,
        cluster: { server: access.url, 'certificate-authority-data': Buffer.from(access.ca).toString('base64') },
      },
    ],
    users: [{ name, user: { token: access.token } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: access.namespace } }],
    'current-context': name,
  };
  await writeFile(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}
