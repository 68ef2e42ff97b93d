import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Authority, makeAuthority } from '../certificates.ts';
import type { Progress } from '../error.ts';
import type { ProcessHandle } from '../handle.ts';
import { kubeBinary } from './binaries.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { host, startComponent } from './process.ts';

/** Issuer of the tokens of service accounts; also the audience that they have unless another is asked for. */
const issuer = 'https://kubernetes.default.svc.cluster.local';

export interface ControlPlane {
  readonly etcd: ProcessHandle;
  readonly apiserver: ProcessHandle;
  readonly url: string;
  readonly port: number;
  /** PEM of the authority that signed the API server's certificate. */
  readonly ca: string;
  readonly caFile: string;
  readonly signingKeyFile: string;
  readonly adminToken: string;
  /** Path of a kubeconfig of group system:masters. */
  readonly kubeconfig: string;
  stop(): Promise<void>;
}

/** etcd and kube-apiserver on 127.0.0.1; settles when the API server says /readyz. */
export async function startControlPlane(options: {
  readonly folder: string;
  readonly egressSocket: string;
  readonly progress: Progress;
}): Promise<ControlPlane> {
  const { folder, progress } = options;
  const at = (file: string): string => join(folder, file);
  const authority = await makeAuthority('tidemark-test-cluster');
  const adminToken = randomBytes(24).toString('hex');
  const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await Promise.all([
    writeFile(at('service-accounts.key'), signing.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 }),
    writeFile(at('service-accounts.pub'), signing.publicKey.export({ type: 'spki', format: 'pem' })),
    writeFile(at('tokens.csv'), `${adminToken},admin,admin,system:masters\n`, { mode: 0o600 }),
    writeFile(at('egress.json'), JSON.stringify(egressSelectors(options.egressSocket))),
  ]);
  const etcd = await startEtcd(folder, progress).catch(async (error: unknown) => {
    await authority.remove();
    throw error;
  });
  try {
    const apiserver = await startApiserver({ at, authority, etcdPort: etcd.port, folder, progress });
    const url = `https://${host}:${apiserver.port}`;
    const ca = await readFile(authority.caFile, 'utf8');
    return {
      etcd: etcd.process,
      apiserver: apiserver.process,
      url,
      port: apiserver.port,
      ca,
      caFile: authority.caFile,
      signingKeyFile: at('service-accounts.key'),
      adminToken,
      kubeconfig: await writeKubeconfig(at('admin.kubeconfig'), { url, ca, token: adminToken, namespace: 'default' }),
      stop: async () => {
        await Promise.all([apiserver.process.stop(), etcd.process.stop()]);
        await authority.remove();
      },
    };
  } catch (error) {
    await etcd.process.stop();
    await authority.remove();
    throw error;
  }
}

function egressSelectors(socket: string): object {
  const transport = { uds: { udsName: socket } };
  return {
    apiVersion: 'apiserver.k8s.io/v1beta1',
    kind: 'EgressSelectorConfiguration',
    egressSelections: [{ name: 'cluster', connection: { proxyProtocol: 'HTTPConnect', transport } }],
  };
}

interface Started {
  readonly process: ProcessHandle;
  readonly port: number;
}

async function startEtcd(folder: string, progress: Progress): Promise<Started> {
  const { process, ports } = await startComponent({
    name: 'etcd',
    command: await kubeBinary('etcd', progress),
    ports: 2,
    home: folder,
    args: ([client, peer]) => [
      `--data-dir=${join(folder, 'etcd')}`,
      `--listen-client-urls=http://${host}:${client}`,
      `--advertise-client-urls=http://${host}:${client}`,
      `--listen-peer-urls=http://${host}:${peer}`,
      `--initial-advertise-peer-urls=http://${host}:${peer}`,
      `--initial-cluster=default=http://${host}:${peer}`,
      '--unsafe-no-fsync', // nothing here must survive the machine
      '--log-level=warn',
    ],
    health: ([client]) => `http://${host}:${client}/health`,
  });
  return { process, port: ports[0] ?? 0 };
}

async function startApiserver(options: {
  readonly at: (file: string) => string;
  readonly authority: Authority;
  readonly etcdPort: number;
  readonly folder: string;
  readonly progress: Progress;
}): Promise<Started> {
  const { at, authority } = options;
  const certificate = await authority.issue('kube-apiserver');
  const { process, ports } = await startComponent({
    name: 'kube-apiserver',
    command: await kubeBinary('kube-apiserver', options.progress),
    ports: 1,
    home: options.folder,
    args: ([port]) => [
      `--etcd-servers=http://${host}:${options.etcdPort}`,
      `--secure-port=${port}`,
      `--bind-address=${host}`,
      `--advertise-address=${host}`,
      '--endpoint-reconciler-type=none', // an Endpoints object must not hold a loopback address
      `--cert-dir=${at('certificates')}`,
      `--tls-cert-file=${certificate.certFile}`,
      `--tls-private-key-file=${certificate.keyFile}`,
      `--service-account-issuer=${issuer}`,
      `--service-account-signing-key-file=${at('service-accounts.key')}`,
      `--service-account-key-file=${at('service-accounts.pub')}`,
      `--token-auth-file=${at('tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--service-cluster-ip-range=10.96.0.0/16',
      `--egress-selector-config-file=${at('egress.json')}`,
      '--allow-privileged=true',
      '--profiling=false',
    ],
    // It also says that the default roles are there: https://kubernetes.io/docs/reference/using-api/health-checks/
    health: ([port]) => `https://${host}:${port}/readyz`,
  });
  return { process, port: ports[0] ?? 0 };
}
