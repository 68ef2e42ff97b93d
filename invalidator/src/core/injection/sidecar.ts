import { isOn, type Overrides } from './annotations.ts';
import type { Container, EnvironmentVariable, InjectionSettings, NamedObject, Resources } from './settings.ts';

/** The folder of the socket: an emptyDir, so that only this pod has it. */
export const SOCKET_VOLUME = 'tidemark-socket';
/** The socket's path, for sidecar and application alike. */
export const SOCKET_VARIABLE = 'TIDEMARK_SOCKET';

/** What one pod gets: the settings with its overrides. */
export interface Sidecar {
  readonly container: Container;
  readonly volumes: readonly NamedObject[];
  /** For the application's containers. */
  readonly applicationEnv: readonly EnvironmentVariable[];
  readonly applicationMount: { readonly name: string; readonly mountPath: string; readonly readOnly: true } | undefined;
}

/** The sidecar of a pod with these overrides. */
export function sidecarFor(settings: InjectionSettings, overrides: Overrides): Sidecar {
  const { container: base, credentialsSecret, socket } = settings;
  const secret = overrides.secret ?? credentialsSecret;
  const hasSocket = overrides.socket === undefined ? socket.enabled : isOn(overrides.socket);
  const path = `${socket.directory}/tidemark.sock`;
  const env = withVariables(base.env ?? [], [
    ['TIDEMARK_LOG_LEVEL', overrides['log-level']],
    ['TIDEMARK_NAMESPACES', overrides.namespaces],
    [SOCKET_VARIABLE, hasSocket ? path : undefined],
  ]);
  const envFrom = [...(base.envFrom ?? []), ...(secret === undefined ? [] : [{ secretRef: { name: secret } }])];
  const volumeMounts = [
    ...(base.volumeMounts ?? []),
    ...(hasSocket ? [{ name: SOCKET_VOLUME, mountPath: socket.directory }] : []),
  ];
  const resources = resourcesOf(base.resources ?? {}, overrides);
  const container: Container = {
    ...base,
    image: overrides.image ?? base.image,
    ...(env.length > 0 && { env }),
    ...(envFrom.length > 0 && { envFrom }),
    ...(volumeMounts.length > 0 && { volumeMounts }),
    ...(Object.keys(resources).length > 0 && { resources }),
    ...(settings.mode === 'native' && { restartPolicy: 'Always' }),
  };
  return {
    container,
    volumes: [...settings.volumes, ...(hasSocket ? [{ name: SOCKET_VOLUME, emptyDir: {} }] : [])],
    applicationEnv: [...settings.applicationEnv, ...(hasSocket ? [{ name: SOCKET_VARIABLE, value: path }] : [])],
    // To connect needs no writing; so an application cannot remove the socket.
    applicationMount: hasSocket ? { name: SOCKET_VOLUME, mountPath: socket.directory, readOnly: true } : undefined,
  };
}

/** Variables that are given replace those of their name, and come last. */
function withVariables(
  env: readonly EnvironmentVariable[],
  variables: readonly (readonly [string, string | undefined])[],
): readonly EnvironmentVariable[] {
  const given = variables.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]));
  const names = new Set(given.map(({ name }) => name));
  return [...env.filter(({ name }) => !names.has(name)), ...given];
}

function resourcesOf(base: Resources, overrides: Overrides): Resources {
  const requests = quantities(base.requests, overrides['cpu-request'], overrides['memory-request']);
  const limits = quantities(base.limits, overrides['cpu-limit'], overrides['memory-limit']);
  return { ...base, ...(requests && { requests }), ...(limits && { limits }) };
}

function quantities(
  base: Readonly<Record<string, string>> | undefined,
  cpu: string | undefined,
  memory: string | undefined,
): Readonly<Record<string, string>> | undefined {
  if (cpu === undefined && memory === undefined) return base;
  return { ...base, ...(cpu !== undefined && { cpu }), ...(memory !== undefined && { memory }) };
}
