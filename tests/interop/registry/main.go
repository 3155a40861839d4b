// A registry with the Referrers API for the interop lane: the one of go-containerregistry, in memory, on loopback.
//
// With `-page N` it tells of referrers in pages of N, in the order in which they came, as registries may that many use.
// Prints `listening on HOST:PORT` when it is ready.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	page := flag.Int("page", 0, "referrers on a page; 0: all")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	handler := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	if *page > 0 {
		handler = &pages{inner: handler, size: *page, came: map[string]int{}}
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	server := http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}

// pages cuts listings of referrers (distribution-spec, Listing Referrers: `Link` with `rel="next"`).
type pages struct {
	inner http.Handler
	size  int
	mutex sync.Mutex
	// Manifests by digest: the how manieth they were.
	came map[string]int
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	listing := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/referrers/")
	pushed := r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
	if !listing && !pushed {
		p.inner.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	p.inner.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	if pushed && answer.Code == http.StatusCreated {
		p.note(answer.Header().Get("Docker-Content-Digest"))
	}
	if listing && answer.Code == http.StatusOK {
		var next string
		body, next = p.cut(body, r)
		if next != "" {
			answer.Header().Set("Link", fmt.Sprintf("<%s>; rel=\"next\"", next))
		}
		answer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
}

func (p *pages) note(digest string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if _, known := p.came[digest]; !known {
		p.came[digest] = len(p.came)
	}
}

// cut gives the page that was asked for, and where the next is, if there is one.
func (p *pages) cut(whole []byte, r *http.Request) ([]byte, string) {
	var index v1.IndexManifest
	if err := json.Unmarshal(whole, &index); err != nil {
		log.Fatal(err)
	}
	p.mutex.Lock()
	sort.Slice(index.Manifests, func(i, j int) bool {
		return p.came[index.Manifests[i].Digest.String()] < p.came[index.Manifests[j].Digest.String()]
	})
	p.mutex.Unlock()
	query := r.URL.Query()
	from, _ := strconv.Atoi(query.Get("from"))
	from = max(0, min(from, len(index.Manifests)))
	to := min(from+p.size, len(index.Manifests))
	next := ""
	if to < len(index.Manifests) {
		query.Set("from", strconv.Itoa(to))
		next = r.URL.Path + "?" + query.Encode()
	}
	index.Manifests = index.Manifests[from:to]
	page, err := json.Marshal(index)
	if err != nil {
		log.Fatal(err)
	}
	return page, next
}
