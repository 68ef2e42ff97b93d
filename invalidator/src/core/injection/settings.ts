/** What is injected, as the chart rendered it: the same for every pod, but for the overrides that its annotations name. */
export interface InjectionSettings {
  /**
   * `native`: an init container with `restartPolicy: Always`, which starts before the application and ends after it
   * (Kubernetes 1.29 and newer). `container`: one more ordinary container, for older clusters.
   */
  readonly mode: 'native' | 'container';
  /** The source that the release serves; a pod that names another one (`config.tidemark.dev/source`) is left alone. */
  readonly source: string;
  /** The sidecar, whole. Its name is always {@link SIDECAR_NAME}. */
  readonly container: SidecarContainer;
  /** Volumes that the sidecar mounts; their names begin with {@link SIDECAR_NAME}. */
  readonly volumes: readonly NamedObject[];
  /** What every container of the application learns, unless it sets the variable itself. */
  readonly applicationEnv: readonly EnvironmentVariable[];
  /** A Secret in the pod's namespace whose keys become the sidecar's environment. */
  readonly credentialsSecret?: string | undefined;
  readonly socket: SocketSettings;
  /** Namespaces whose pods are never touched. */
  readonly excludedNamespaces: readonly string[];
}

/** A Unix socket that sidecar and application share, in an emptyDir. */
export interface SocketSettings {
  /** Whether pods get it that do not say (`config.tidemark.dev/socket`). */
  readonly enabled: boolean;
  /** Where the folder is mounted in every container. */
  readonly directory: string;
}

/** Name of the container, and what the names of our volumes begin with. */
export const SIDECAR_NAME = 'tidemark';

/** An object of a list whose key is its name: a container, a volume. Other fields are carried along untouched. */
export interface NamedObject {
  readonly name: string;
  readonly [field: string]: unknown;
}

/** An environment variable of a container; `valueFrom` and the like are carried along. */
export interface EnvironmentVariable extends NamedObject {
  readonly value?: string | undefined;
}

/** The fields of a container (core/v1) that are read here. */
export interface Container extends NamedObject {
  readonly image?: string | undefined;
  readonly env?: readonly EnvironmentVariable[] | undefined;
  readonly envFrom?: readonly unknown[] | undefined;
  readonly volumeMounts?: readonly VolumeMount[] | undefined;
  readonly resources?: Resources | undefined;
}

export interface VolumeMount extends NamedObject {
  readonly mountPath: string;
}

export interface Resources {
  readonly requests?: Readonly<Record<string, string>> | undefined;
  readonly limits?: Readonly<Record<string, string>> | undefined;
  readonly [field: string]: unknown;
}

export interface SidecarContainer extends Container {
  readonly name: typeof SIDECAR_NAME;
  readonly image: string;
}
