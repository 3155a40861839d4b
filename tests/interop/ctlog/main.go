// A certificate transparency log (RFC 6962) for the interop lane: Google's front end, which reads chains, looks for a path
// to the roots and signs promises (SCTs), on loopback. Behind it there is no tree: nobody asks this log for a proof.
//
//	ctlog ROOTS.pem KEY.der PUBLIC_KEY.der
//
// KEY is P-256 in SEC 1 or PKCS #8 form. Prints `listening on HOST:PORT` when it is ready; the log's prefix is `/log`.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/google/certificate-transparency-go/trillian/ctfe"
	"github.com/google/certificate-transparency-go/trillian/ctfe/configpb"
	"github.com/google/trillian"
	"github.com/google/trillian/crypto/keys"
	"github.com/google/trillian/crypto/keys/der"
	"github.com/google/trillian/crypto/keyspb"
	"github.com/google/trillian/monitoring"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// queue takes every leaf, once each as far as the front end is told.
type queue struct{ trillian.TrillianLogClient }

func (queue) QueueLeaf(
	_ context.Context, asked *trillian.QueueLeafRequest, _ ...grpc.CallOption,
) (*trillian.QueueLeafResponse, error) {
	return &trillian.QueueLeafResponse{QueuedLeaf: &trillian.QueuedLogLeaf{Leaf: asked.Leaf}}, nil
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: ctlog ROOTS.pem KEY.der PUBLIC_KEY.der")
	}
	keys.RegisterHandler(&keyspb.PrivateKey{}, der.FromProto)
	key, err := anypb.New(&keyspb.PrivateKey{Der: read(os.Args[2])})
	if err != nil {
		log.Fatal(err)
	}
	validated, err := ctfe.ValidateLogConfig(&configpb.LogConfig{
		LogId:        1,
		Prefix:       "log",
		RootsPemFile: []string{os.Args[1]},
		PrivateKey:   key,
		PublicKey:    &keyspb.PublicKey{Der: read(os.Args[3])},
	})
	if err != nil {
		log.Fatal(err)
	}
	instance, err := ctfe.SetUpInstance(context.Background(), ctfe.InstanceOptions{
		Validated:     validated,
		Client:        queue{},
		Deadline:      5 * time.Second,
		MetricFactory: monitoring.InertMetricFactory{},
		RequestLog:    &ctfe.DefaultRequestLog{},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, handler := range instance.Handlers {
		mux.Handle(path, handler)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	server := http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}

func read(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	return content
}
