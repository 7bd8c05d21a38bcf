package main

import (
	"fmt"

	"github.com/hibiken/asynq"
)

type taskShown struct {
	ID            string            `json:"id"`
	Queue         string            `json:"queue"`
	Type          string            `json:"type"`
	State         string            `json:"state"`
	Payload       []byte            `json:"payload"`
	Headers       map[string]string `json:"headers"`
	MaxRetry      int               `json:"max_retry"`
	Retried       int               `json:"retried"`
	LastErr       string            `json:"last_err"`
	LastFailedAt  float64           `json:"last_failed_at"`
	Timeout       float64           `json:"timeout"`
	Deadline      float64           `json:"deadline"`
	Group         string            `json:"group"`
	NextProcessAt float64           `json:"next_process_at"`
	IsOrphaned    bool              `json:"orphaned"`
	Retention     float64           `json:"retention"`
	CompletedAt   float64           `json:"completed_at"`
	Result        []byte            `json:"result"`
}

func shown(info *asynq.TaskInfo) taskShown {
	deadline := unix(info.Deadline)
	return taskShown{
		ID: info.ID, Queue: info.Queue, Type: info.Type, State: info.State.String(), Payload: info.Payload,
		Headers: info.Headers, MaxRetry: info.MaxRetry, Retried: info.Retried, LastErr: info.LastErr,
		LastFailedAt: unix(info.LastFailedAt), Timeout: info.Timeout.Seconds(), Deadline: deadline,
		Group: info.Group, NextProcessAt: unix(info.NextProcessAt), IsOrphaned: info.IsOrphaned,
		Retention: info.Retention.Seconds(), CompletedAt: unix(info.CompletedAt), Result: info.Result,
	}
}

func (p *peer) queues(request) (any, error) {
	return p.inspector.Queues()
}

func (p *peer) queue(r request) (any, error) {
	info, err := p.inspector.GetQueueInfo(r.Queue)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"size": info.Size, "pending": info.Pending, "active": info.Active, "scheduled": info.Scheduled,
		"retry": info.Retry, "archived": info.Archived, "completed": info.Completed,
		"aggregating": info.Aggregating, "groups": info.Groups, "processed": info.Processed,
		"failed": info.Failed, "processed_total": info.ProcessedTotal, "failed_total": info.FailedTotal,
		"paused": info.Paused, "latency": info.Latency.Seconds(),
	}, nil
}

func (p *peer) groups(r request) (any, error) {
	found, err := p.inspector.Groups(r.Queue)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int{}
	for _, group := range found {
		sizes[group.Group] = group.Size
	}
	return sizes, nil
}

func (p *peer) task(r request) (any, error) {
	info, err := p.inspector.GetTaskInfo(r.Queue, r.Task)
	if err != nil {
		return nil, err
	}
	return shown(info), nil
}

type lister = func(*asynq.Inspector, string, ...asynq.ListOption) ([]*asynq.TaskInfo, error)

var listers = map[string]lister{
	"pending":   (*asynq.Inspector).ListPendingTasks,
	"active":    (*asynq.Inspector).ListActiveTasks,
	"scheduled": (*asynq.Inspector).ListScheduledTasks,
	"retry":     (*asynq.Inspector).ListRetryTasks,
	"archived":  (*asynq.Inspector).ListArchivedTasks,
	"completed": (*asynq.Inspector).ListCompletedTasks,
}

func (p *peer) tasks(r request) (any, error) {
	list, ok := listers[r.State]
	if r.State == "aggregating" {
		list = func(i *asynq.Inspector, queue string, opts ...asynq.ListOption) ([]*asynq.TaskInfo, error) {
			return i.ListAggregatingTasks(queue, r.Group, opts...)
		}
	} else if !ok {
		return nil, fmt.Errorf("unknown state %q", r.State)
	}
	found, err := list(p.inspector, r.Queue, asynq.PageSize(1000))
	if err != nil {
		return nil, err
	}
	tasks := []taskShown{}
	for _, info := range found {
		tasks = append(tasks, shown(info))
	}
	return tasks, nil
}

func one(do func(*asynq.Inspector, string, string) error) func(*peer, request) (any, error) {
	return func(p *peer, r request) (any, error) {
		return nil, do(p.inspector, r.Queue, r.Task)
	}
}

type ofState = map[string]func(*asynq.Inspector, string) (int, error)
type ofGroup = func(*asynq.Inspector, string, string) (int, error)

var runAll = ofState{
	"scheduled": (*asynq.Inspector).RunAllScheduledTasks,
	"retry":     (*asynq.Inspector).RunAllRetryTasks,
	"archived":  (*asynq.Inspector).RunAllArchivedTasks,
}

var archiveAll = ofState{
	"pending":   (*asynq.Inspector).ArchiveAllPendingTasks,
	"scheduled": (*asynq.Inspector).ArchiveAllScheduledTasks,
	"retry":     (*asynq.Inspector).ArchiveAllRetryTasks,
}

var deleteAll = ofState{
	"pending":   (*asynq.Inspector).DeleteAllPendingTasks,
	"scheduled": (*asynq.Inspector).DeleteAllScheduledTasks,
	"retry":     (*asynq.Inspector).DeleteAllRetryTasks,
	"archived":  (*asynq.Inspector).DeleteAllArchivedTasks,
	"completed": (*asynq.Inspector).DeleteAllCompletedTasks,
}

var (
	runAllOfGroup     = (*asynq.Inspector).RunAllAggregatingTasks
	archiveAllOfGroup = (*asynq.Inspector).ArchiveAllAggregatingTasks
	deleteAllOfGroup  = (*asynq.Inspector).DeleteAllAggregatingTasks
)

func all(states ofState, group ofGroup) func(*peer, request) (any, error) {
	return func(p *peer, r request) (any, error) {
		if r.State == "aggregating" {
			return group(p.inspector, r.Queue, r.Group)
		}
		do, ok := states[r.State]
		if !ok {
			return nil, fmt.Errorf("not possible for state %q", r.State)
		}
		return do(p.inspector, r.Queue)
	}
}

func (p *peer) update(r request) (any, error) {
	return nil, p.inspector.UpdateTaskPayload(r.Queue, r.Task, r.Payload)
}

func (p *peer) pause(r request) (any, error) {
	return nil, p.inspector.PauseQueue(r.Queue)
}

func (p *peer) unpause(r request) (any, error) {
	return nil, p.inspector.UnpauseQueue(r.Queue)
}

func (p *peer) deleteQueue(r request) (any, error) {
	return nil, p.inspector.DeleteQueue(r.Queue, r.Force)
}

func (p *peer) cancel(r request) (any, error) {
	return nil, p.inspector.CancelProcessing(r.Task)
}

type runShown struct {
	Task    string  `json:"task"`
	Type    string  `json:"type"`
	Payload []byte  `json:"payload"`
	Queue   string  `json:"queue"`
	Started float64 `json:"started"`
}

type serverShown struct {
	ID          string         `json:"id"`
	Host        string         `json:"host"`
	PID         int            `json:"pid"`
	Concurrency int            `json:"concurrency"`
	Queues      map[string]int `json:"queues"`
	Strict      bool           `json:"strict"`
	Started     float64        `json:"started"`
	Status      string         `json:"status"`
	Runs        []runShown     `json:"runs"`
}

func (p *peer) servers(request) (any, error) {
	found, err := p.inspector.Servers()
	if err != nil {
		return nil, err
	}
	list := []serverShown{}
	for _, s := range found {
		runs := []runShown{}
		for _, w := range s.ActiveWorkers {
			runs = append(runs, runShown{w.TaskID, w.TaskType, w.TaskPayload, w.Queue, unix(w.Started)})
		}
		list = append(list, serverShown{
			s.ID, s.Host, s.PID, s.Concurrency, s.Queues, s.StrictPriority, unix(s.Started), s.Status, runs,
		})
	}
	return list, nil
}
