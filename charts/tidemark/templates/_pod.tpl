{{/* What the pod templates of all roles share, above their containers. The argument is (list $ "invalidator" .Values.invalidator). */}}
{{- define "tidemark.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $role := index . 2 -}}
labels:
  {{- include "tidemark.roleLabels" . | nindent 2 }}
  {{- with $role.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  {{- /* Values of a Secret that this chart makes reach a process only when it starts; those of a foreign one are its owner's to roll out. */}}
  checksum/credentials: {{ include (print $root.Template.BasePath "/credentials.yaml") $root | sha256sum }}
  {{- with $role.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "tidemark.podSpec" -}}
{{- $root := index . 0 -}}
{{- $role := index . 2 -}}
serviceAccountName: {{ include "tidemark.serviceAccountName" . }}
{{- /* What Kubernetes would inject for every Service of the namespace helps nobody here. */}}
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with include "tidemark.scheduling" . | trim }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Where pods go; what a role says of itself counts instead of what is said for all. */}}
{{- define "tidemark.scheduling" -}}
{{- $root := index . 0 -}}
{{- $role := index . 2 -}}
{{- with $role.priorityClassName | default $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $role.nodeSelector | default $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $role.tolerations | default $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $role.affinity | default $root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Spread over nodes and zones where there are some; a role's own list replaces the default, [] removes it. */}}
{{- define "tidemark.topologySpread" -}}
{{- $root := index . 0 -}}
{{- $constraints := (index . 2).topologySpreadConstraints -}}
{{- if kindIs "invalid" $constraints -}}
{{- $constraints = $root.Values.topologySpreadConstraints -}}
{{- end -}}
{{- with $constraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "tidemark.selector" (slice $ 0 2) | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "tidemark.image.fields" -}}
image: {{ include "tidemark.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* Liveness depends on the process alone; it answers late only when its event loop hangs. */}}
{{- define "tidemark.probes" -}}
livenessProbe:
  httpGet: { path: /livez, port: {{ . }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: {{ . }} }
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* Quantities as text, whether they were given as such or as numbers. */}}
{{- define "tidemark.resources" -}}
{{- range $kind, $quantities := . }}
{{ $kind }}:
  {{- range $name, $quantity := $quantities }}
  {{ $name }}: {{ $quantity | toString | quote }}
  {{- end }}
{{- end }}
{{- end -}}
