{{/*
A value as a CEL expression. Kubernetes wants lists and maps of one type each, so every value inside is wrapped in dyn():
https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
*/}}
{{- define "tidemark.cel" -}}
{{- if kindIs "map" . -}}
{{- $fields := list -}}
{{- range $key, $value := . -}}
{{- $fields = append $fields (printf "%s: dyn(%s)" (toJson $key) (include "tidemark.cel" $value)) -}}
{{- end -}}
{ {{- join ", " $fields -}} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . -}}
{{- $items = append $items (printf "dyn(%s)" (include "tidemark.cel" .)) -}}
{{- end -}}
[ {{- join ", " $items -}} ]
{{- else -}}
{{- /* Strings, numbers, booleans and null are written in CEL as in JSON. */ -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* What the pod says in an annotation, or a default (CEL): (list "config.tidemark.dev/image" "an expression"). */}}
{{- define "tidemark.cel.said" -}}
variables.annotations[?'{{ index . 0 }}'].orValue({{ index . 1 }})
{{- end -}}

{{/* One map of resources with what the pod says of CPU and memory: (dict "base" MAP "kind" "request"). */}}
{{- define "tidemark.cel.quantities" -}}
{{- $fields := list -}}
{{- range $key, $value := omit .base "cpu" "memory" -}}
{{- $fields = append $fields (printf "%s: dyn(%s)" (toJson $key) (toJson (toString $value))) -}}
{{- end -}}
{{- range $key := list "cpu" "memory" -}}
{{- $annotation := printf "config.tidemark.dev/%s-%s" $key $.kind -}}
{{- if hasKey $.base $key -}}
{{- $fields = append $fields (printf "%s: dyn(%s)" (toJson $key) (include "tidemark.cel.said" (list $annotation (index $.base $key | toString | toJson)))) -}}
{{- else -}}
{{- /* Not simply [?…]: in a map, cel-go 0.26 panics over an optional entry that it knows no type of. */ -}}
{{- $fields = append $fields (printf "?%s: '%s' in variables.annotations ? optional.of(dyn(variables.annotations['%s'])) : optional.none()" (toJson $key) $annotation $annotation) -}}
{{- end -}}
{{- end -}}
{ {{- join ", " $fields -}} }
{{- end -}}

{{/* The sidecar with the overrides of a pod (CEL). invalidator/src/core/injection/sidecar.ts does the same for the webhook. */}}
{{- define "tidemark.cel.sidecar" -}}
{{- $container := include "tidemark.sidecar" . | fromYaml -}}
{{- $fields := list -}}
{{- range $key, $value := omit $container "image" "env" "envFrom" "volumeMounts" "resources" -}}
{{- $fields = append $fields (printf "%s: dyn(%s)" (toJson $key) (include "tidemark.cel" $value)) -}}
{{- end -}}
{{- if eq (include "tidemark.sidecar.mode" .) "native" -}}
{{- $fields = append $fields "\"restartPolicy\": dyn(\"Always\")" -}}
{{- end -}}
{{- $resources := $container.resources | default dict -}}
{ {{- join ",\n  " $fields }},
  "image": dyn({{ include "tidemark.cel.said" (list "config.tidemark.dev/image" (toJson $container.image)) }}),
  "env": dyn({{ include "tidemark.cel" ($container.env | default list) }}.filter(e, !variables.givenEnv.exists(given, given.name == e.name)) + variables.givenEnv),
  "envFrom": dyn({{ include "tidemark.cel" ($container.envFrom | default list) }} + variables.secret.map(name, {'secretRef': dyn({'name': name})}).map(each, dyn(each))),
  "volumeMounts": dyn({{ include "tidemark.cel" ($container.volumeMounts | default list) }} + (variables.hasSocket ? [dyn({'name': 'tidemark-socket', 'mountPath': {{ toJson .Values.injection.socket.directory }}})] : [])),
  "resources": dyn({
    {{- range $key, $value := omit $resources "requests" "limits" }}
    {{ toJson $key }}: dyn({{ include "tidemark.cel" $value }}),
    {{- end }}
    "requests": dyn({{ include "tidemark.cel.quantities" (dict "base" ($resources.requests | default dict) "kind" "request") }}),
    "limits": dyn({{ include "tidemark.cel.quantities" (dict "base" ($resources.limits | default dict) "kind" "limit") }})
  })
}
{{- end -}}

{{/* Operations that tell the containers of a list where the sidecar is (CEL): "containers" or "initContainers". */}}
{{- define "tidemark.cel.told" -}}
{{- $list := index . 1 -}}
{{- with index . 0 -}}
{{- $socket := printf "%s/tidemark.sock" .Values.injection.socket.directory -}}
variables.{{ $list }}.transformList(i, c, c.name != 'tidemark' && !has(c.env),
  JSONPatch{op: 'add', path: '/spec/{{ $list }}/' + string(i) + '/env', value: []})
+ variables.{{ $list }}.transformList(i, c, c.name != 'tidemark' && variables.hasSocket && !(has(c.env) && c.env.exists(e, e.name == 'TIDEMARK_SOCKET')),
  JSONPatch{op: 'add', path: '/spec/{{ $list }}/' + string(i) + '/env/0', value: {'name': 'TIDEMARK_SOCKET', 'value': {{ toJson $socket }}}})
+ variables.{{ $list }}.transformList(i, c, c.name != 'tidemark' && !(has(c.env) && c.env.exists(e, e.name == 'TIDEMARK_URL')),
  JSONPatch{op: 'add', path: '/spec/{{ $list }}/' + string(i) + '/env/0', value: {'name': 'TIDEMARK_URL', 'value': 'http://127.0.0.1:7070'}})
+ variables.{{ $list }}.transformList(i, c, c.name != 'tidemark' && variables.hasSocket && !has(c.volumeMounts),
  JSONPatch{op: 'add', path: '/spec/{{ $list }}/' + string(i) + '/volumeMounts', value: []})
+ variables.{{ $list }}.transformList(i, c, c.name != 'tidemark' && variables.hasSocket && !(has(c.volumeMounts) && c.volumeMounts.exists(m, m.mountPath == {{ toJson .Values.injection.socket.directory }})),
  JSONPatch{op: 'add', path: '/spec/{{ $list }}/' + string(i) + '/volumeMounts/-', value: {'name': dyn('tidemark-socket'), 'mountPath': dyn({{ toJson .Values.injection.socket.directory }}), 'readOnly': dyn(true)}})
{{- end -}}
{{- end -}}
