# How much of everything: what the bars are measured with, or QUICK to see that it runs.
# shellcheck shell=bash disable=SC2034  # read by the parts
if [ -z "${QUICK:-}" ]; then
  rounds=${ROUNDS:-5}           # of throughput; medians are taken
  lateness_rounds=${ROUNDS:-3}
  post_seconds=3
  due_events=100000             # to drain
  far_events=1000000
  gone_events=300000            # have come and gone under a held snapshot
  sparse_events=1000            # lateness on an idle server: over 20 s
  sparse_rate=50
  rate_seconds=10               # lateness at a rate
  pending_events=1000000
  pending_sample=50000          # of them cancelled or moved in one run
  snapshot_seconds=180
  snapshot_window=30
  idle_settle=15
  idle_seconds=60
  crowd_rounds=${ROUNDS:-3}
  crowd_sessions=500
  crowd_queues=2000
  crowd_takers=300
  crowd_seconds=8               # of each measurement; who is deaf is ended after 30
  crowd_settle=3
  open_seconds=600
else
  rounds=${ROUNDS:-1}
  lateness_rounds=${ROUNDS:-1}
  post_seconds=0.4
  due_events=20000
  far_events=50000
  gone_events=30000
  sparse_events=100
  sparse_rate=50
  rate_seconds=1
  pending_events=20000
  pending_sample=2000
  snapshot_seconds=6
  snapshot_window=2
  idle_settle=12
  idle_seconds=3
  crowd_rounds=${ROUNDS:-1}
  crowd_sessions=50
  crowd_queues=200
  crowd_takers=30
  crowd_seconds=2
  crowd_settle=1
  open_seconds=10
fi
idle_events=10000
crowd_rate=200
crowd_events=$((crowd_rate * crowd_seconds))
