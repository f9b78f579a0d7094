package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllermanageroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// runKubelite runs the control plane and the node's two programs in one
// process, as MicroK8s does under this name. What can be seen of it: they share
// one metrics registry, so every port that serves /metrics serves the metrics
// of all.
//
// ARGS is a directory with a file of arguments, one a line, for each program.
// All options are made and parsed before anything runs, because the feature
// gates among them are the process's. The commands of upstream cannot be used
// but for one, because each claims the process's signals; that one is the
// kubelet's, which has no other way in.
func runKubelite() int {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: kubelite ARGS KUBECONFIG")
		return 2
	}
	if err := kubelite(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "kubelite:", err)
	}
	return 1 // none of them ever ends well
}

// part is one of the programs: its name, what parses its arguments, and what
// then runs it until it fails.
type part struct {
	name    string
	prepare func(args []string) (run, error)
	run     run
}

type run func(context.Context) error

func kubelite(ctx context.Context, args, kubeconfig string) error {
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	// The kubelet's command applies the logging configuration once more.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged

	parts := []part{
		{name: "kube-apiserver", prepare: prepareAPIServer},
		{name: "kube-controller-manager", prepare: prepareControllerManager},
		{name: "kube-scheduler", prepare: prepareScheduler},
		{name: "kube-proxy", prepare: prepareProxy},
		{name: "kubelet", prepare: prepareKubelet},
	}
	for i := range parts {
		lines, err := readArguments(filepath.Join(args, parts[i].name))
		if err != nil {
			return err
		}
		if parts[i].run, err = parts[i].prepare(lines); err != nil {
			return fmt.Errorf("%s: %w", parts[i].name, err)
		}
	}
	if err := compatibility.DefaultComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(logsapi.NewLoggingConfiguration(), utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	utilfeature.DefaultMutableFeatureGate.AddMetrics()
	compatibility.DefaultComponentGlobalsRegistry.AddMetrics()

	ended := make(chan error)
	ready := make(chan struct{})
	for _, part := range parts {
		go func() {
			// These would wait for the API server too, but seconds longer than
			// needed: they look again less and less often.
			if part.name != "kube-apiserver" && part.name != "kubelet" {
				<-ready
			}
			klog.InfoS("Starting", "program", part.name)
			ended <- fmt.Errorf("%s ended: %w", part.name, part.run(ctx))
		}()
	}
	go func() {
		if err := waitForAPIServer(ctx, kubeconfig); err != nil {
			ended <- err
			return
		}
		close(ready)
	}()
	return <-ended
}

func prepareAPIServer(args []string) (run, error) {
	options := apiserveroptions.NewServerRunOptions()
	if err := parse(options.Flags(), args); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		completed, err := options.Complete(ctx)
		if err != nil {
			return err
		}
		if errs := completed.Validate(); len(errs) != 0 {
			return utilerrors.NewAggregate(errs)
		}
		return apiserver.Run(ctx, completed)
	}, nil
}

func prepareControllerManager(args []string) (run, error) {
	options, err := controllermanageroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, err
	}
	known, disabled, aliases := controllermanager.KnownControllers(), controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases()
	flags := options.Flags(known, disabled, aliases)
	options.ParsedFlags = &flags
	if err := parse(flags, args); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		config, err := options.Config(ctx, known, disabled, aliases)
		if err != nil {
			return err
		}
		return controllermanager.Run(ctx, config.Complete())
	}, nil
}

func prepareScheduler(args []string) (run, error) {
	options := scheduleroptions.NewOptions()
	if err := parse(*options.Flags, args); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		config, scheduling, err := scheduler.Setup(ctx, options)
		if err != nil {
			return err
		}
		return scheduler.Run(ctx, config, scheduling)
	}, nil
}

func prepareProxy(args []string) (run, error) {
	options := proxy.NewOptions()
	flags := pflag.NewFlagSet("kube-proxy", pflag.ContinueOnError)
	options.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := options.Complete(flags); err != nil {
		return nil, err
	}
	return options.Run, options.Validate()
}

func prepareKubelet(args []string) (run, error) {
	command := kubelet.NewKubeletCommand(context.Background())
	command.SetArgs(args)
	return command.ExecuteContext, nil
}

func parse(sets flag.NamedFlagSets, args []string) error {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		all.AddFlagSet(set)
	}
	return all.Parse(args)
}

func readArguments(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var args []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			args = append(args, line)
		}
	}
	return args, lines.Err()
}

func waitForAPIServer(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() != nil {
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}
