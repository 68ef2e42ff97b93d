/** A text form that Kubernetes or Tidemark knows, and how it is told to a person. */
export interface Form {
  readonly pattern: RegExp;
  /** Completes "expected …". */
  readonly expected: string;
}

// The policy (charts/tidemark/templates/injection-policy.yaml) checks annotations with the same patterns, which RE2 reads:
// no look-around, no back-reference, no repetition of a repetition.

/** An image reference, loosely: the kubelet knows best. */
export const IMAGE: Form = {
  pattern: /^[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}$/,
  expected: 'an image such as ghcr.io/tidemark/tidemark:0.1.0',
};

/** `resource.Quantity` for CPU: cores or thousandths of one. */
export const CPU: Form = { pattern: /^[0-9]{1,6}(\.[0-9]{1,3})?$|^[0-9]{1,9}m$/, expected: 'CPU such as 50m or 0.5' };

/** `resource.Quantity` for memory: bytes with a suffix. */
export const MEMORY: Form = {
  pattern: /^[0-9]{1,15}(\.[0-9]{1,3})?(Ki|Mi|Gi|k|M|G)?$/,
  expected: 'memory such as 128Mi',
};

/** The name of an object such as a Secret: a DNS subdomain (RFC 1123). */
export const OBJECT_NAME: Form = {
  pattern: /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
  expected: 'the name of an object: a-z, 0-9, "-" and "."',
};

/** Names of cache namespaces, divided by commas. */
export const NAMESPACE_LIST: Form = {
  pattern: /^[a-z0-9][a-z0-9._-]{0,62}(,[a-z0-9][a-z0-9._-]{0,62})*$/,
  expected: 'names of cache namespaces, divided by commas without spaces',
};

/** A source's name in the configuration. */
export const SOURCE: Form = {
  pattern: /^[a-z0-9][a-z0-9._-]{0,62}$/,
  expected: 'the name of a source: 1 to 63 of a-z, 0-9, ".", "_", "-"',
};

/** What TIDEMARK_LOG_LEVEL takes. */
export const LOG_LEVEL: Form = {
  pattern: /^(trace|debug|info|warn|error|silent)$/,
  expected: 'one of trace, debug, info, warn, error, silent',
};

export const SWITCH: Form = {
  pattern: /^(enabled|true|disabled|false)$/,
  expected: 'enabled or disabled',
};
