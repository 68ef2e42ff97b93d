{{/*
The whole sidecar, as it is put into pods: the webhook's settings and the policy both take it from here, and so does the
pod of "helm test", which lives in our own namespace, where nothing is injected. It may not rely on anything of the application's
namespace but what values name.
*/}}
{{- define "tidemark.sidecar" -}}
{{ include "tidemark.sidecar.process" . }}
env:
  {{- include "tidemark.sidecar.env" . | nindent 2 }}
  {{- include "tidemark.sidecar.servers" . | nindent 2 }}
  {{- include "tidemark.sidecar.limits" . | nindent 2 }}
{{- with include "tidemark.sidecar.mounts" . | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "tidemark.sidecar.process" -}}
name: tidemark
image: {{ include "tidemark.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: ['node', '/app/sidecar/main.js']
ports:
  - name: tidemark-admin
    containerPort: 7071
    protocol: TCP
# The application starts once this one answers, whether Kafka and Redis are there or not. There is no readiness probe: an
# application whose cache is ill can still serve, from the database.
startupProbe:
  httpGet: { path: /readyz, port: 7071 }
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: 7071 }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
resources:
  {{- include "tidemark.resources" .Values.sidecar.resources | trim | nindent 2 }}
securityContext:
  {{- toYaml .Values.sidecar.securityContext | nindent 2 }}
{{- end -}}

{{- define "tidemark.sidecar.env" -}}
{{- include "tidemark.env.instance" . }}
- name: TIDEMARK_LOG_LEVEL
  value: {{ .Values.sidecar.logLevel | default .Values.logLevel | quote }}
- name: TIDEMARK_LISTEN
  value: 127.0.0.1:7070
- name: TIDEMARK_ADMIN_LISTEN
  value: {{ include "tidemark.listen" (list . 7071) }}
- name: TIDEMARK_CONFIG_TOPIC
  value: {{ include "tidemark.configTopic" . | quote }}
{{ include "tidemark.env.source" . }}
- name: TIDEMARK_INVALIDATOR_URL
  value: {{ include "tidemark.invalidatorUrl" . | quote }}
{{- if .Values.flush.enabled }}
{{ include "tidemark.env.writesTopic" . }}
{{- end }}
{{- end -}}

{{- define "tidemark.sidecar.servers" -}}
- name: TIDEMARK_KAFKA_BROKERS
  value: {{ join "," .Values.kafka.brokers | quote }}
- name: TIDEMARK_KAFKA_TLS
  value: {{ .Values.kafka.tls.enabled | quote }}
{{- with .Values.kafka.sasl.mechanism }}
# User and password come from the Secret beside the application.
- name: TIDEMARK_KAFKA_SASL_MECHANISM
  value: {{ . | quote }}
{{- end }}
{{- include "tidemark.sidecar.tlsEnv" (dict "tls" .Values.sidecar.kafkaTls "prefix" "TIDEMARK_KAFKA" "folder" "/etc/tidemark/kafka-tls") }}
{{- with include "tidemark.sidecar.redisUrl" . }}
- name: TIDEMARK_REDIS_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.sidecar.memcachedUrl }}
- name: TIDEMARK_MEMCACHED_URL
  value: {{ . | quote }}
{{- end }}
{{- include "tidemark.sidecar.tlsEnv" (dict "tls" .Values.sidecar.redisTls "prefix" "TIDEMARK_REDIS" "folder" "/etc/tidemark/redis-tls") }}
{{- if .Values.sidecar.caBundle.configMap }}
# Node's own: every connection that names no authorities trusts these too.
- name: NODE_EXTRA_CA_CERTS
  value: /etc/tidemark/ca/ca.crt
{{- end }}
{{- end -}}

{{- define "tidemark.sidecar.limits" -}}
- name: TIDEMARK_REDIS_DEADLINE
  value: {{ .Values.sidecar.redisDeadline | quote }}
- name: TIDEMARK_MEMCACHED_DEADLINE
  value: {{ .Values.sidecar.memcachedDeadline | quote }}
- name: TIDEMARK_MEMCACHED_MAX_ITEM
  value: {{ .Values.sidecar.memcachedMaxItem | quote }}
- name: TIDEMARK_LOAD_POOL
  value: {{ .Values.sidecar.loadPool | quote }}
- name: TIDEMARK_WRITE_POOL
  value: {{ .Values.sidecar.writePool | quote }}
{{- with .Values.sidecar.l1MaxBytes }}
- name: TIDEMARK_L1_MAX_BYTES
  value: {{ . | quote }}
{{- end }}
{{- with .Values.sidecar.l1MaxEntries }}
- name: TIDEMARK_L1_MAX_ENTRIES
  value: {{ int64 . | quote }}
{{- end }}
- name: TIDEMARK_MAX_STALENESS
  value: {{ .Values.sidecar.maxStaleness | quote }}
- name: TIDEMARK_FETCH_INTERVAL
  value: {{ .Values.sidecar.fetchInterval | quote }}
- name: TIDEMARK_LEASE_TTL
  value: {{ .Values.sidecar.leaseTtl | quote }}
- name: TIDEMARK_COALESCE_TIMEOUT
  value: {{ .Values.sidecar.coalesceTimeout | quote }}
- name: TIDEMARK_SESSION_TIMEOUT
  value: {{ .Values.sidecar.sessionTimeout | quote }}
- name: TIDEMARK_SOCKET_MODE
  value: {{ .Values.injection.socket.mode | quote }}
{{- with .Values.sidecar.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What redis.url says is no secret where it holds no login. */}}
{{- define "tidemark.sidecar.redisUrl" -}}
{{- if .Values.sidecar.redisUrl -}}
{{ .Values.sidecar.redisUrl }}
{{- else if and (not .Values.injection.credentialsSecret) (not (contains "@" .Values.redis.url)) -}}
{{ .Values.redis.url }}
{{- end -}}
{{- end -}}

{{/* A Secret in the application's namespace: (dict "tls" VALUES "prefix" TIDEMARK_X "folder" PATH). */}}
{{- define "tidemark.sidecar.tlsEnv" -}}
{{- with .tls -}}
{{- if .existingSecret }}
{{- with .caKey }}
- name: {{ $.prefix }}_CA_FILE
  value: {{ $.folder }}/{{ . }}
{{- end }}
{{- if .certKey }}
- name: {{ $.prefix }}_CERT_FILE
  value: {{ $.folder }}/{{ .certKey }}
- name: {{ $.prefix }}_KEY_FILE
  value: {{ $.folder }}/{{ .keyKey }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "tidemark.sidecar.mounts" -}}
{{- if .Values.sidecar.kafkaTls.existingSecret }}
- name: tidemark-kafka-tls
  mountPath: /etc/tidemark/kafka-tls
  readOnly: true
{{- end }}
{{- if .Values.sidecar.redisTls.existingSecret }}
- name: tidemark-redis-tls
  mountPath: /etc/tidemark/redis-tls
  readOnly: true
{{- end }}
{{- if .Values.sidecar.caBundle.configMap }}
- name: tidemark-ca
  mountPath: /etc/tidemark/ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "tidemark.sidecar.volumes" -}}
{{- with .Values.sidecar.kafkaTls.existingSecret }}
- name: tidemark-kafka-tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.sidecar.redisTls.existingSecret }}
- name: tidemark-redis-tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.sidecar.caBundle }}
{{- if .configMap }}
- name: tidemark-ca
  configMap:
    name: {{ .configMap }}
    # Where the key is missing the pod does not start and says so; Node would go on without the file.
    items: [{ key: {{ .key | quote }}, path: ca.crt }]
{{- end }}
{{- end }}
{{- end -}}

{{/* native where the cluster has sidecars: on by default from 1.29. */}}
{{- define "tidemark.sidecar.mode" -}}
{{- if ne .Values.injection.sidecarMode "auto" -}}
{{ .Values.injection.sidecarMode }}
{{- else -}}
{{ ternary "native" "container" (semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version) }}
{{- end -}}
{{- end -}}

{{/* The file that TIDEMARK_INJECTION names (invalidator/src/config/injection-settings.ts). */}}
{{- define "tidemark.injectionSettings" -}}
mode: {{ include "tidemark.sidecar.mode" . }}
source: {{ .Values.source.name | quote }}
container:
  {{- include "tidemark.sidecar" . | nindent 2 }}
{{- with include "tidemark.sidecar.volumes" . | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
applicationEnv:
  - name: TIDEMARK_URL
    value: http://127.0.0.1:7070
{{- with .Values.injection.credentialsSecret }}
credentialsSecret: {{ . }}
{{- end }}
socket:
  enabled: {{ .Values.injection.socket.enabled }}
  directory: {{ .Values.injection.socket.directory }}
excludedNamespaces:
  {{- include "tidemark.excludedNamespaces" . | nindent 2 }}
{{- end -}}

{{/* Our own namespace is always among them: our pods must start without our webhook. */}}
{{- define "tidemark.excludedNamespaces" -}}
{{- toYaml (append .Values.injection.excludedNamespaces .Release.Namespace | uniq) -}}
{{- end -}}
