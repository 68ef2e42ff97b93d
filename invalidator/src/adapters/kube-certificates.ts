import {
  PatchStrategy,
  setHeaderOptions,
  type AdmissionregistrationV1Api,
  type CoreV1Api,
} from '@kubernetes/client-node';
import type { V1Secret } from '@kubernetes/client-node';
import { OperatorError } from '../core/errors.ts';
import type { CertificateStore, StoredCertificates, TrustAnchor } from '../core/injection/renewal.ts';
import { kubeFailure } from '../core/kube-failure.ts';

const CERTIFICATE = 'tls.crt';
const KEY = 'tls.key';
const AUTHORITIES = 'ca.crt';
/** What a `test` of a JSON Patch that fails is answered with. */
const TEST_FAILED = 422;

/**
 * A Secret of the process's own namespace as a {@link CertificateStore}. Needs get, update, patch and create on that name only:
 * a missing Secret is made by a server-side apply, whose URL holds the name, so that RBAC can narrow `create` too.
 * @param options.manager unique for each process: an apply of another one is then a conflict instead of a change
 */
export function openCertificateSecret(options: {
  readonly api: CoreV1Api;
  readonly namespace: string;
  readonly name: string;
  readonly manager: string;
  readonly split: (bundle: string) => readonly string[];
}): CertificateStore {
  const { api, namespace, name } = options;
  const where = `Secret ${namespace}/${name}`;
  /** As it was last read: labels and what others keep in it go back with each write. */
  let newest: V1Secret | undefined;
  return {
    async read() {
      try {
        newest = await api.readNamespacedSecret({ namespace, name });
      } catch (error) {
        newest = undefined;
        if (kubeFailure(error).status === 404) return { version: undefined, content: undefined };
        throw told(where, error);
      }
      return storedIn(newest, options.split);
    },
    async write({ pair, authorities }, version) {
      const data = {
        ...newest?.data,
        [CERTIFICATE]: base64(pair.certificate),
        [KEY]: base64(pair.key),
        [AUTHORITIES]: base64(authorities.join('')),
      };
      try {
        if (version === undefined) {
          const body = { apiVersion: 'v1', kind: 'Secret', metadata: { name }, type: 'Opaque', data };
          await api.patchNamespacedSecret(
            { namespace, name, body, fieldManager: options.manager, force: false },
            setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply),
          );
        } else {
          const metadata = Object.assign(newest?.metadata ?? {}, { name, resourceVersion: version });
          await api.replaceNamespacedSecret({ namespace, name, body: Object.assign(newest ?? {}, { metadata, data }) });
        }
        return 'written';
      } catch (error) {
        const { status } = kubeFailure(error);
        if (status === 409 || (status === 404 && version !== undefined)) return 'conflict';
        throw told(where, error);
      }
    },
  };
}

function storedIn(secret: V1Secret, split: (bundle: string) => readonly string[]): StoredCertificates {
  const text = (key: string): string => textOf(secret.data?.[key]);
  const pair = { certificate: text(CERTIFICATE), key: text(KEY) };
  const authorities = split(text(AUTHORITIES));
  const isEmpty = pair.certificate === '' || pair.key === '' || authorities.length === 0;
  return { version: secret.metadata?.resourceVersion, content: isEmpty ? undefined : { pair, authorities } };
}

/**
 * The caBundle of a MutatingWebhookConfiguration as a {@link TrustAnchor}; nothing else of it is touched. Needs get and patch on
 * that name only.
 */
export function openWebhookTrust(options: {
  readonly api: AdmissionregistrationV1Api;
  readonly name: string;
  readonly split: (bundle: string) => readonly string[];
}): TrustAnchor {
  const { api, name, split } = options;
  const where = `MutatingWebhookConfiguration ${name}`;
  let count = 0;
  return {
    async read() {
      const { webhooks = [], metadata } = await api
        .readMutatingWebhookConfiguration({ name })
        .catch((error: unknown) => {
          throw told(where, error);
        });
      count = webhooks.length;
      const bundles = webhooks.map(({ clientConfig }) => split(textOf(clientConfig.caBundle)));
      // Each of its webhooks has a bundle of its own; we have one.
      const authorities = bundles[0]?.filter((one) => bundles.every((bundle) => bundle.includes(one))) ?? [];
      return { version: metadata?.resourceVersion ?? '', authorities };
    },
    async write(authorities, version) {
      const value = base64(authorities.join(''));
      const body = [
        // Places in a list are only as good as the list that they were found in.
        { op: 'test', path: '/metadata/resourceVersion', value: version },
        ...Array.from({ length: count }, (_, index) => ({
          op: 'add',
          path: `/webhooks/${index}/clientConfig/caBundle`,
          value,
        })),
      ];
      try {
        await api.patchMutatingWebhookConfiguration(
          { name, body },
          setHeaderOptions('Content-Type', PatchStrategy.JsonPatch),
        );
        return 'written';
      } catch (error) {
        const { status } = kubeFailure(error);
        if (status === 409 || status === TEST_FAILED) return 'conflict';
        throw told(where, error);
      }
    },
  };
}

function told(where: string, error: unknown): OperatorError {
  return new OperatorError(`${where}: ${kubeFailure(error).message}`);
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function textOf(base64Text: string | undefined): string {
  return Buffer.from(base64Text ?? '', 'base64').toString();
}
