// Crdcheck judges CustomResourceDefinitions, and resources of them, with the code of Kubernetes'
// own API server: what it decodes, prunes and completes, and the strategy by which it stores.
//
//	crdcheck DEFINITION.yaml... <requests.jsonl >answers.jsonl
//	crdcheck --costs [--release 1.25] DEFINITION.yaml...
//
// A request is a line of JSON: {"object": {...}} is created, {"object": {...}, "old": {...}} takes
// the place of the old one, and with "subresource": "status" in the status alone. The answer is a
// line: {"object": what would be stored, "unknown": fields that were dropped, "errors": [...]}.
//
// With --costs, a line for each rule tells its place, its text and what an API server estimates
// that it costs in the largest object that the schema allows. With --release, only what the CEL of
// that release of Kubernetes had is known to the rules.
//
// The exit status is 1 where a definition is refused, which standard error then says why.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/bits"
	"os"
	"sort"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/yaml"
)

// definition is one version of a CustomResourceDefinition.
type definition struct {
	kind       string
	schema     *apiextensions.JSONSchemaProps
	structural *schema.Structural
	resource   strategy
	status     strategy
}

type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

type request struct {
	Object      json.RawMessage `json:"object"`
	Old         json.RawMessage `json:"old"`
	Subresource string          `json:"subresource"`
}

type answer struct {
	Object  map[string]any `json:"object"`
	Unknown []string       `json:"unknown"`
	Errors  []string       `json:"errors"`
}

func main() {
	costs := flag.Bool("costs", false, "tell what each rule costs")
	release := flag.String("release", environment.DefaultCompatibilityVersion().String(), "whose CEL the rules have")
	flag.Parse()
	known, refused := map[string]definition{}, false
	for _, path := range flag.Args() {
		definitions, errs := read(path)
		for _, each := range errs {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, each)
			refused = true
		}
		for _, each := range definitions {
			known[each.kind] = each
		}
	}
	if refused {
		os.Exit(1)
	}
	lines := json.NewEncoder(os.Stdout)
	if *costs {
		for _, each := range known {
			tellCosts(lines, each, version.MustParseGeneric(*release))
		}
		return
	}
	for input := bufio.NewReader(os.Stdin); ; {
		line, err := input.ReadBytes('\n')
		if len(line) > 0 {
			check(lines.Encode(judge(known, line)))
		}
		if err != nil {
			return
		}
	}
}

// read gives the versions of the definition in a file, and why an API server would refuse it.
func read(path string) (found []definition, refused field.ErrorList) {
	text, err := os.ReadFile(path)
	check(err)
	external := v1.CustomResourceDefinition{}
	check(yaml.UnmarshalStrict(text, &external))
	v1.SetObjectDefaults_CustomResourceDefinition(&external)
	crd := apiextensions.CustomResourceDefinition{}
	check(v1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&external, &crd, nil))
	for _, each := range crd.Spec.Versions {
		if each.Storage {
			crd.Status.StoredVersions = []string{each.Name}
		}
	}
	if refused = crdvalidation.ValidateCustomResourceDefinition(context.Background(), &crd); len(refused) > 0 {
		return nil, refused
	}
	for _, each := range crd.Spec.Versions {
		own, err := apiextensions.GetSchemaForVersion(&crd, each.Name)
		check(err)
		subresources, err := apiextensions.GetSubresourcesForVersion(&crd, each.Name)
		check(err)
		found = append(found, served(&crd, each.Name, own.OpenAPIV3Schema, subresources))
	}
	return found, nil
}

// served is a version as an API server serves it.
func served(crd *apiextensions.CustomResourceDefinition, name string, own *apiextensions.JSONSchemaProps, subresources *apiextensions.CustomResourceSubresources) definition {
	structural, err := schema.NewStructural(own)
	check(err)
	validator, _, err := validation.NewSchemaValidator(own)
	check(err)
	var status *apiextensions.CustomResourceSubresourceStatus
	var statusValidator validation.SchemaValidator
	if subresources != nil && subresources.Status != nil {
		status = subresources.Status
		part := own.Properties["status"]
		statusValidator, _, err = validation.NewSchemaValidator(&part)
		check(err)
	}
	kind := apischema.GroupVersionKind{Group: crd.Spec.Group, Version: name, Kind: crd.Spec.Names.Kind}
	resource := customresource.NewStrategy(
		runtime.NewScheme(), crd.Spec.Scope == apiextensions.NamespaceScoped, kind, validator, statusValidator, structural, status, nil, nil)
	return definition{
		kind:       kind.GroupVersion().String() + "/" + kind.Kind,
		schema:     own,
		structural: structural,
		resource:   resource,
		status:     customresource.NewStatusStrategy(resource),
	}
}

// judge says what an API server does with a request.
func judge(known map[string]definition, line []byte) answer {
	asked := request{}
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Errors: []string{err.Error()}}
	}
	object, of, unknown, err := decode(known, asked.Object)
	if err != nil {
		return answer{Errors: []string{err.Error()}}
	}
	rules, ctx := strategy(of.resource), context.Background()
	if asked.Subresource == "status" {
		rules = of.status
	}
	var errs field.ErrorList
	if asked.Old == nil {
		rules.PrepareForCreate(ctx, object)
		errs = rules.Validate(ctx, object)
	} else {
		old, _, _, err := decode(known, asked.Old)
		if err != nil {
			return answer{Errors: []string{"old: " + err.Error()}}
		}
		old.SetResourceVersion("1")
		object.SetResourceVersion("1")
		rules.PrepareForUpdate(ctx, object, old)
		errs = rules.ValidateUpdate(ctx, object, old)
	}
	said := []string{}
	for _, each := range errs {
		said = append(said, each.Error())
	}
	return answer{Object: object.Object, Unknown: unknown, Errors: said}
}

// decode reads an object as an API server does: pruned, and complete with its defaults.
func decode(known map[string]definition, text []byte) (*unstructured.Unstructured, definition, []string, error) {
	content := map[string]any{}
	if err := utiljson.Unmarshal(text, &content); err != nil {
		return nil, definition{}, nil, err
	}
	object := &unstructured.Unstructured{Object: content}
	of, found := known[object.GetAPIVersion()+"/"+object.GetKind()]
	if !found {
		return nil, definition{}, nil, fmt.Errorf("%s/%s is no kind of the definitions", object.GetAPIVersion(), object.GetKind())
	}
	unknown := pruning.PruneWithOptions(content, of.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	defaulting.PruneNonNullableNullsWithoutDefaults(content, of.structural)
	defaulting.Default(content, of.structural)
	if object.GetNamespace() == "" {
		object.SetNamespace("default")
	}
	return object, of, unknown, nil
}

// tellCosts writes a line for each rule of a definition.
func tellCosts(lines *json.Encoder, of definition, release *version.Version) {
	base := environment.MustBaseEnvSet(release)
	walk(of.schema, crdvalidation.RootCELContext(of.schema), "", func(path string, at *crdvalidation.CELSchemaContext, part *apiextensions.JSONSchemaProps) {
		structural, err := schema.NewStructural(part)
		check(err)
		root := path == ""
		compiled, err := cel.Compile(structural, model.SchemaDeclType(structural, root), celconfig.PerCallLimit, base, cel.NewExpressionsEnvLoader())
		check(err)
		for index, each := range compiled {
			if each.Error != nil {
				check(each.Error)
			}
			times := each.MaxCardinality
			if at.MaxCardinality != nil {
				times = *at.MaxCardinality
			}
			check(lines.Encode(map[string]any{
				"kind": of.kind,
				"path": path,
				"rule": part.XValidations[index].Rule,
				"cost": product(each.MaxCost, times),
			}))
		}
	})
}

// walk visits every part of a schema that has rules.
func walk(part *apiextensions.JSONSchemaProps, at *crdvalidation.CELSchemaContext, path string, visit func(string, *crdvalidation.CELSchemaContext, *apiextensions.JSONSchemaProps)) {
	if len(part.XValidations) > 0 {
		visit(path, at, part)
	}
	names := make([]string, 0, len(part.Properties))
	for name := range part.Properties {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		each := part.Properties[name]
		walk(&each, at.ChildPropertyContext(&each, name), path+"."+name, visit)
	}
	if part.Items != nil && part.Items.Schema != nil {
		walk(part.Items.Schema, at.ChildItemsContext(part.Items.Schema), path+"[]", visit)
	}
	if part.AdditionalProperties != nil && part.AdditionalProperties.Schema != nil {
		each := part.AdditionalProperties.Schema
		walk(each, at.ChildAdditionalPropertiesContext(each), path+"{}", visit)
	}
}

// product is first times second, or the largest number where that is more.
func product(first, second uint64) uint64 {
	if high, low := bits.Mul64(first, second); high == 0 {
		return low
	}
	return math.MaxUint64
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "crdcheck:", err)
		os.Exit(2)
	}
}
