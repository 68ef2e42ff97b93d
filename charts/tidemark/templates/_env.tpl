{{/* Environment of our own pods. Sidecars have theirs in _sidecar.tpl: they live in other namespaces, where our Secrets are not. */}}

{{/* One entry out of a Secret: (dict "env" NAME "secret" NAME "key" KEY). */}}
{{- define "tidemark.env.secret" -}}
- name: {{ .env }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{- define "tidemark.credentialsName" -}}
{{- include "tidemark.roleName" (list . "credentials") -}}
{{- end -}}

{{- define "tidemark.env.instance" -}}
- name: TIDEMARK_INSTANCE
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end -}}

{{- define "tidemark.env.common" -}}
{{ include "tidemark.env.instance" . }}
- name: TIDEMARK_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end -}}

{{/* (list $ 7080) */}}
{{- define "tidemark.listen" -}}
{{- $host := (index . 0).Values.listenHost -}}
{{- printf "%s:%v" (ternary (printf "[%s]" $host) $host (contains ":" $host)) (index . 1) | quote -}}
{{- end -}}

{{- define "tidemark.env.source" -}}
- name: TIDEMARK_SOURCE
  value: {{ .Values.source.name | quote }}
{{- end -}}

{{- define "tidemark.env.kafka" -}}
{{- with .Values.kafka -}}
- name: TIDEMARK_KAFKA_BROKERS
  value: {{ join "," .brokers | quote }}
- name: TIDEMARK_KAFKA_TLS
  value: {{ .tls.enabled | quote }}
{{- include "tidemark.env.tlsFiles" (dict "tls" .tls "prefix" "TIDEMARK_KAFKA" "folder" "/etc/tidemark/kafka-tls") }}
{{- if .sasl.mechanism }}
- name: TIDEMARK_KAFKA_SASL_MECHANISM
  value: {{ .sasl.mechanism | quote }}
{{- $secret := .sasl.existingSecret | default (include "tidemark.credentialsName" $) }}
{{ include "tidemark.env.secret" (dict "env" "TIDEMARK_KAFKA_SASL_USERNAME" "secret" $secret "key" (ternary .sasl.usernameKey "kafka-username" (ne .sasl.existingSecret ""))) }}
{{ include "tidemark.env.secret" (dict "env" "TIDEMARK_KAFKA_SASL_PASSWORD" "secret" $secret "key" (ternary .sasl.passwordKey "kafka-password" (ne .sasl.existingSecret ""))) }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Where the URL of Postgres is. */}}
{{- define "tidemark.postgresSecret" -}}
{{- $exists := ne .Values.postgres.existingSecret "" -}}
secret: {{ ternary .Values.postgres.existingSecret (include "tidemark.credentialsName" .) $exists }}
key: {{ ternary .Values.postgres.existingSecretKey "postgres-url" $exists }}
{{- end -}}

{{/* (list $), or (list $ SECRET KEY) where the URL is in another Secret than usual. */}}
{{- define "tidemark.env.postgres" -}}
{{- $root := index . 0 -}}
{{- $from := include "tidemark.postgresSecret" $root | fromYaml -}}
{{- if gt (len .) 1 }}{{ $from = dict "secret" (index . 1) "key" (index . 2) }}{{ end -}}
{{- include "tidemark.env.secret" (merge (dict "env" "TIDEMARK_POSTGRES_URL") $from) -}}
{{- with $root.Values.source.slot }}
- name: TIDEMARK_SLOT
  value: {{ . | quote }}
{{- end }}
{{- with $root.Values.source.publication }}
- name: TIDEMARK_PUBLICATION
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "tidemark.env.writesTopic" -}}
- name: TIDEMARK_WRITES_TOPIC
  value: {{ .Values.flush.topic | default (printf "%s.writes" (include "tidemark.topic" .)) | quote }}
{{- end -}}

{{- define "tidemark.env.redis" -}}
{{- with .Values.redis -}}
{{- include "tidemark.env.secret" (dict
      "env" "TIDEMARK_REDIS_URL"
      "secret" (.existingSecret | default (include "tidemark.credentialsName" $))
      "key" (ternary .existingSecretKey "redis-url" (ne .existingSecret ""))) -}}
{{- include "tidemark.env.tlsFiles" (dict "tls" .tls "prefix" "TIDEMARK_REDIS" "folder" "/etc/tidemark/redis-tls") }}
{{- end -}}
{{- end -}}

{{/* The files that tidemark.tls.volume mounts: (dict "tls" VALUES "prefix" TIDEMARK_X "folder" PATH). */}}
{{- define "tidemark.env.tlsFiles" -}}
{{- with .tls -}}
{{- $exists := ne .existingSecret "" -}}
{{- if ternary .caKey .ca $exists }}
- name: {{ $.prefix }}_CA_FILE
  value: {{ $.folder }}/{{ ternary .caKey "ca.crt" $exists }}
{{- end }}
{{- if ternary .certKey .cert $exists }}
- name: {{ $.prefix }}_CERT_FILE
  value: {{ $.folder }}/{{ ternary .certKey "tls.crt" $exists }}
- name: {{ $.prefix }}_KEY_FILE
  value: {{ $.folder }}/{{ ternary .keyKey "tls.key" $exists }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Whether there is TLS material at all, for kafka.tls, redis.tls and postgres.tls. */}}
{{- define "tidemark.tls.has" -}}
{{- if or .existingSecret .ca .cert }}true{{ end -}}
{{- end -}}

{{/* (list $ "kafka") */}}
{{- define "tidemark.tls.secretName" -}}
{{- $tls := (index (index . 0).Values (index . 1)).tls -}}
{{- $tls.existingSecret | default (include "tidemark.roleName" (list (index . 0) (printf "%s-tls" (index . 1)))) -}}
{{- end -}}

{{/* Mounts and volumes of TLS material: (list $ "kafka" "postgres"). */}}
{{- define "tidemark.tls.mounts" -}}
{{- $root := index . 0 -}}
{{- range rest . }}
{{- if include "tidemark.tls.has" (index $root.Values .).tls }}
- name: {{ . }}-tls
  mountPath: /etc/tidemark/{{ . }}-tls
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "tidemark.tls.volumes" -}}
{{- $root := index . 0 -}}
{{- range rest . }}
{{- if include "tidemark.tls.has" (index $root.Values .).tls }}
- name: {{ . }}-tls
  secret:
    secretName: {{ include "tidemark.tls.secretName" (list $root .) }}
{{- end }}
{{- end }}
{{- end -}}
