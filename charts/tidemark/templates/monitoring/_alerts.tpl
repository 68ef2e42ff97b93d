{{/*
Alerts, each with what to do. Only metrics that the processes export (a test compares them). The sidecars of all sources are in
one Prometheus, so those alerts are about all of them.
*/}}
{{- define "tidemark.alerts" -}}
{{- $own := .own -}}
{{- $labels := .rules.labels | toJson -}}
{{- $alerts := list
  (dict "name" "TidemarkNobodyStreams" "for" "1m" "severity" "critical"
    "expr" (printf "max(tidemark_invalidator_state{state=\"streaming\",%s} or vector(0)) < 1" $own)
    "summary" (printf "Nobody follows the changes of source %s" .source)
    "description" "Sidecars answer misses. Look at the log of the invalidator's leader: it says what it waits for.")
  (dict "name" "TidemarkStreamRestarts" "for" "0m" "severity" "warning"
    "expr" (printf "sum by (cause) (increase(tidemark_invalidator_restarts_total{%s}[15m])) > 5" $own)
    "summary" "The stream is restarted again and again: {{ $labels.cause }}"
    "description" "Each restart delays invalidations. The log of the leader tells the error behind the cause.")
  (dict "name" "TidemarkSlotRetainsWal" "for" "5m" "severity" "warning"
    "expr" (printf "max(tidemark_invalidator_slot_retained_bytes{%s}) > %.0f" $own (float64 .rules.slotRetainedBytes))
    "summary" "Postgres keeps {{ $value | humanize1024 }}B of WAL for the replication slot"
    "description" "Somebody reads too slowly, or nobody does. The disk of Postgres fills up until the slot is read or dropped.")
  (dict "name" "TidemarkSlotNearlyLost" "for" "1m" "severity" "critical"
    "expr" (printf "min(tidemark_invalidator_slot_safe_wal_bytes{%s}) < %.0f" $own (float64 .rules.slotSafeBytes))
    "summary" "Only {{ $value | humanize1024 }}B of WAL until the replication slot is lost"
    "description" "A lost slot empties every cache. Raise max_slot_wal_keep_size, or find out why the invalidator falls behind.")
  (dict "name" "TidemarkNewEpoch" "for" "0m" "severity" "warning"
    "expr" (printf "sum by (reason) (increase(tidemark_invalidator_epochs_total{%s}[10m])) > 0" $own)
    "summary" "Every cache was emptied: {{ $labels.reason }}"
    "description" "A promotion, a lost slot or another server began a new epoch. Expect more load on the database for a while.")
  (dict "name" "TidemarkPublishesSlowly" "for" "5m" "severity" "warning"
    "expr" (printf "histogram_quantile(0.99, sum by (le) (rate(tidemark_invalidator_commit_to_publish_seconds_bucket{%s}[5m]))) > %v" $own .rules.publishSeconds)
    "summary" "1 in 100 changes takes more than {{ $value | humanizeDuration }} from commit to Kafka"
    "description" "Cached values are older than a change for as long. Compare tidemark_invalidator_publish_seconds (Kafka) with it.")
  (dict "name" "TidemarkHeldBackByStandby" "for" "5m" "severity" "warning"
    "expr" (printf "max(tidemark_invalidator_stream_held_back{%s}) == 1" $own)
    "summary" "Postgres sends no changes before its standbys have them"
    "description" "A standby of synchronized_standby_slots is away or slow; sidecars answer misses until it is back.")
  (dict "name" "TidemarkCommitsInvisible" "for" "5m" "severity" "warning"
    "expr" (printf "max(tidemark_invalidator_invisible_commits{%s}) > 0" $own)
    "summary" "Commits have been written and cannot be read"
    "description" "They wait for a synchronous standby. Until then what they change is not stored in caches.")
  (dict "name" "TidemarkNamespacesUncovered" "for" "15m" "severity" "warning"
    "expr" (printf "max(tidemark_invalidator_uncovered_namespaces{%s}) > 0" $own)
    "summary" "{{ $value }} namespaces are not cached, because their rules cannot be served"
    "description" "The log of the leader, and the conditions of their CacheNamespace, tell the SQL that mends it.")
  (dict "name" "TidemarkConfigRefused" "for" "5m" "severity" "warning"
    "expr" (printf "max(1 - tidemark_invalidator_config_file_valid{%s}) > 0 or sum(increase(tidemark_invalidator_config_publications_total{outcome=\"failed\",%s}[10m])) > 0" $own $own)
    "summary" "A change of the namespaces does not reach the sidecars"
    "description" "They go on with what they had. The log of the leader tells what is wrong with the document, or why Kafka does not take it.")
  (dict "name" "TidemarkLeaderUnsure" "for" "5m" "severity" "warning"
    "expr" (printf "max((tidemark_invalidator_leader{%s} == 1) unless (tidemark_invalidator_leader_sure{%s} == 1)) > 0" $own $own)
    "summary" "The leader cannot renew its Lease"
    "description" "It goes on, and nobody could take over from it. Look whether the API server answers, and at the RBAC of its Lease.")
  (dict "name" "TidemarkSidecarsStalled" "for" "5m" "severity" "warning"
    "expr" (printf "sum(tidemark_feed_state{state=\"stalled\"}) / sum(tidemark_feed_state) > %v" .rules.stalledRatio)
    "summary" "{{ $value | humanizePercentage }} of the sidecars hear nothing of the stream"
    "description" "They answer misses. Look whether Kafka can be reached from their namespaces, and at TidemarkNobodyStreams.")
  (dict "name" "TidemarkRecordsUnreadable" "for" "0m" "severity" "warning"
    "expr" "sum(increase(tidemark_records_total{kind=~\"unreadable|too-new\"}[15m])) + sum(increase(tidemark_unreadable_blocks_total[15m])) > 0"
    "summary" "Sidecars cannot read what the invalidator writes"
    "description" "Most likely they are older than it: restart the applications, so that they get the new sidecar.")
-}}
{{- if .hasRedis }}
{{- $alerts = concat $alerts (list
  (dict "name" "TidemarkNobodyApplies" "for" "2m" "severity" "warning"
    "expr" (printf "max(tidemark_applier_state{state=\"applying\",%s} or vector(0)) < 1" $own)
    "summary" "Nobody keeps Redis up with the changes"
    "description" "Sidecars miss what is not in their memory. Look at the log of the appliers and whether Redis answers.")
  (dict "name" "TidemarkApplierBehind" "for" "5m" "severity" "warning"
    "expr" (printf "max(tidemark_applier_lag_ms{%s}) > 5000" $own)
    "summary" "Redis is {{ $value }} ms behind the changes"
    "description" "Fills of Redis are refused and reads from it miss meanwhile. Look at tidemark_applier_apply_seconds.")
  (dict "name" "TidemarkRedisAway" "for" "5m" "severity" "warning"
    "expr" "sum(tidemark_l2_up == bool 0) / count(tidemark_l2_up) > 0.1"
    "summary" "{{ $value | humanizePercentage }} of the sidecars get no answer from Redis"
    "description" "They serve what is in their memory and miss the rest.")
) }}
{{- end }}
{{- if .hasFlush }}
{{- $alerts = concat $alerts (list
  (dict "name" "TidemarkWritesLost" "for" "0m" "severity" "critical"
    "expr" (printf "max(tidemark_flusher_writes_lost{%s}) == 1" $own)
    "summary" "Acknowledged writes are gone from Kafka, and nothing is flushed"
    "description" "The flusher's log tells which offsets. Once that is understood, set next_offset in tidemark.flush_progress to where to go on.")
  (dict "name" "TidemarkWritesWait" "for" "5m" "severity" "warning"
    "expr" (printf "max(tidemark_flusher_oldest_seconds{%s}) > 60 or max(tidemark_flusher_state{state=~\"flushing|standby\",%s} or vector(0)) < 1" $own $own)
    "summary" "Writes do not come into Postgres"
    "description" "Sidecars answer them, and refuse new ones once writeBehind.maxPending is nearly used up. Look at the log of the flusher.")
  (dict "name" "TidemarkWritesParked" "for" "0m" "severity" "warning"
    "expr" (printf "sum(increase(tidemark_flusher_parked_total{%s}[15m])) > 0" $own)
    "summary" "Postgres refuses writes, which were parked"
    "description" "Look at tidemark.parked_writes: set retry = true there once their cause is mended, or delete them.")
) }}
{{- end }}
{{- if .hasWebhook }}
{{- $alerts = append $alerts (dict "name" "TidemarkWebhookCertificate" "for" "10m" "severity" "critical"
    "expr" (printf "min(tidemark_webhook_certificate_expiry_timestamp_seconds{%s}) - time() < 86400" $own)
    "summary" "The certificate of the injection webhook ends within a day"
    "description" "Then annotated pods start without a sidecar. The webhook's log tells why it was not renewed.") }}
{{- end }}
{{- range $alerts }}
{{- include "tidemark.alert" (merge (dict "labels" ($labels | fromJson)) .) }}
{{- end }}
{{- end -}}

{{- define "tidemark.alert" }}
- alert: {{ .name }}
  expr: {{ .expr | toJson }}
  for: {{ .for }}
  labels: {{ merge (dict "severity" .severity) .labels | toJson }}
  annotations:
    summary: {{ .summary | toJson }}
    description: {{ .description | toJson }}
{{- end -}}
