{{/* Names. A release name that says "tidemark" already is not lengthened; 45 leaves room for what is appended to it. */}}
{{- define "tidemark.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 45 | trimSuffix "-" -}}
{{- end -}}

{{- define "tidemark.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "tidemark.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Cluster-wide objects: release names are unique in a namespace only. */}}
{{- define "tidemark.clusterName" -}}
{{- printf "%s.%s" (include "tidemark.fullname" .) .Release.Namespace -}}
{{- end -}}

{{/* What an object of a role is called: the argument is (list $ "invalidator"). */}}
{{- define "tidemark.roleName" -}}
{{- printf "%s-%s" (include "tidemark.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{- define "tidemark.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "tidemark.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The labels of a role's objects: (list $ "invalidator"). */}}
{{- define "tidemark.roleLabels" -}}
{{ include "tidemark.labels" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* What selects a role's pods; never changes in an upgrade. */}}
{{- define "tidemark.selector" -}}
app.kubernetes.io/name: {{ include "tidemark.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* A digest pins what a tag only names, and wins over it. */}}
{{- define "tidemark.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list $ "invalidator" .Values.invalidator) */}}
{{- define "tidemark.serviceAccountName" -}}
{{- $role := index . 2 -}}
{{- if $role.serviceAccount.create -}}
{{- $role.serviceAccount.name | default (include "tidemark.roleName" .) -}}
{{- else -}}
{{- $role.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "tidemark.hasRedis" -}}
{{- if or .Values.redis.url .Values.redis.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "tidemark.topic" -}}
{{- .Values.source.topic | default (printf "tidemark.%s" .Values.source.name) -}}
{{- end -}}

{{- define "tidemark.configTopic" -}}
{{- .Values.source.configTopic | default (printf "%s.config" (include "tidemark.topic" .)) -}}
{{- end -}}

{{- define "tidemark.leaseName" -}}
{{- include "tidemark.roleName" (list . "invalidator") -}}
{{- end -}}

{{- define "tidemark.invalidatorUrl" -}}
http://{{ include "tidemark.roleName" (list . "invalidator") }}.{{ .Release.Namespace }}.svc:7080
{{- end -}}

{{/* The source in the document; a change of it needs a rollout, so pods carry its checksum. */}}
{{- define "tidemark.source" -}}
{{ .Values.source.name | quote }}:
  topic: {{ include "tidemark.topic" . | quote }}
  l2:
    {{- /* int: large numbers arrive as floats and would be written as 1e+07. */}}
    buckets: {{ int .Values.source.l2.buckets }}
    maxFences: {{ int .Values.source.l2.maxFences }}
{{- end -}}

{{/* The newest version of MutatingAdmissionPolicy that the API server serves; empty where there is none. */}}
{{- define "tidemark.policyApi" -}}
{{- range $version := list "v1" "v1beta1" -}}
{{- if $.Capabilities.APIVersions.Has (printf "admissionregistration.k8s.io/%s/MutatingAdmissionPolicy" $version) -}}
admissionregistration.k8s.io/{{ $version }}
{{- break -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* As invalidator/src/config.ts makes it from the source. */}}
{{- define "tidemark.slot" -}}
{{- .Values.source.slot | default (printf "tidemark_%s" (regexReplaceAll "[^a-z0-9_]" .Values.source.name "_") | trunc 63) -}}
{{- end -}}

{{/* Where the webhook's certificate is. */}}
{{- define "tidemark.webhookSecret" -}}
{{- .Values.injection.certificates.existingSecret | default (include "tidemark.roleName" (list . "webhook-tls")) -}}
{{- end -}}

{{/*
Whether "helm test" has something to do. Its sidecar has to end with it, which only native ones do; its namespace is a resource, or
among the values.
*/}}
{{- define "tidemark.hasSelftest" -}}
{{- if and .Values.selftest.enabled (semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- if or .Values.cacheNamespaces.enabled (hasKey .Values.namespaces .Values.selftest.namespace) }}true{{ end -}}
{{- end -}}
{{- end -}}
