{{- /* Which pods: those that ask for the sidecar of this source, outside of the excluded namespaces. */}}
{{- define "tidemark.policy.matches" -}}
failurePolicy: {{ .Values.injection.failurePolicy }}
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values:
          {{- include "tidemark.excludedNamespaces" . | nindent 10 }}
  resourceRules:
    - apiGroups: ['']
      apiVersions: [v1]
      resources: [pods]
      operations: [CREATE]
      scope: Namespaced
matchConditions:
  {{- include "tidemark.matchConditions" . | nindent 2 }}
{{- end }}

{{- /* Pods that say nothing of us never wait for us. A pod that names another source is another release's. */}}
{{- define "tidemark.matchConditions" -}}
- name: annotated
  expression: >-
    has(object.metadata.annotations) && 'tidemark.dev/inject' in object.metadata.annotations
    && !(object.metadata.annotations['tidemark.dev/inject'] in ['disabled', 'false'])
- name: source
  expression: >-
    !('config.tidemark.dev/source' in object.metadata.annotations)
    || object.metadata.annotations['config.tidemark.dev/source'] == {{ toJson .Values.source.name }}
{{- end }}

{{- define "tidemark.policy.variables" -}}
- name: annotations
  expression: >-
    object.metadata.annotations
- name: containers
  expression: >-
    object.spec.containers
- name: initContainers
  expression: >-
    has(object.spec.initContainers) ? object.spec.initContainers : []
- name: volumes
  expression: >-
    has(object.spec.volumes) ? object.spec.volumes : []
- name: isOnNode
  expression: >-
    has(object.spec.hostNetwork) && object.spec.hostNetwork
- name: hasSidecar
  expression: >-
    variables.containers.exists(c, c.name == 'tidemark') || variables.initContainers.exists(c, c.name == 'tidemark')
- name: hasSocket
  expression: >-
    {{ include "tidemark.cel.said" (list "config.tidemark.dev/socket" (ternary "'enabled'" "'disabled'" .Values.injection.socket.enabled)) }} in ['enabled', 'true']
{{- end }}
