//! Bounds how deeply JSON, VARIANT values and lambdas may be nested in what DuckDB reads by recursion: a deeper value
//! could overflow a thread's stack and end the process.

#include "nesting.hpp"

#include "compat.hpp"
#include "system_function.hpp"
#include "variant_form.hpp"
#include "duckdb/catalog/catalog_entry/aggregate_function_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/common/vector/array_vector.hpp"
#include "duckdb/common/vector/list_vector.hpp"
#include "duckdb/common/vector/struct_vector.hpp"
#include "duckdb/function/cast/cast_function_set.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/parser/parsed_data/create_aggregate_function_info.hpp"
#include "duckdb/parser/parsed_data/create_scalar_function_info.hpp"
#include "duckdb/planner/expression/bound_lambda_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! Most lambdas within one another. DuckDB 2.0.0 holds and copies each twice, so that every further one doubles what all of
//! them take.
constexpr idx_t LAMBDAS_MAX = 8;

//! Throws if a text that is JSON has too many arrays and objects within one another. One that is not JSON has no levels that
//! anything reads.
void CheckText(const string_t &text) {
	idx_t level = 0;
	auto in_string = false;
	auto end = text.GetData() + text.GetSize();
	for (auto at = text.GetData(); at < end; at++) {
		if (in_string) {
			in_string = *at != '"';
			at += *at == '\\';
			continue;
		}
		switch (*at) {
		case '"':
			in_string = true;
			break;
		case '[':
		case '{':
			level++;
			if (level > LEVELS_MAX) {
				throw InvalidInputException("JSON with more than %llu arrays and objects within one another", LEVELS_MAX);
			}
			break;
		case ']':
		case '}':
			level -= level > 0;
			break;
		default:
			break;
		}
	}
}

void CheckTexts(const Vector &texts, idx_t count) {
	UnifiedVectorFormat format;
	texts.ToUnifiedFormat(format);
	auto data = UnifiedVectorFormat::GetData<string_t>(format);
	for (idx_t i = 0; i < count; i++) {
		auto index = format.sel->get_index(i);
		if (format.validity.RowIsValid(index)) {
			CheckText(data[index]);
		}
	}
}

bool HasJson(const LogicalType &type) {
	return TypeVisitor::Contains(type, [](const LogicalType &part) { return part.IsJSONType(); });
}

//! Checks all JSON in a vector.
void CheckJson(const Vector &values, idx_t count) {
	if (!HasJson(values.GetType())) {
		return;
	}
	if (values.GetType().IsJSONType()) {
		CheckTexts(values, count);
		return;
	}
	values.Flatten();
	switch (values.GetType().InternalType()) {
	case PhysicalType::LIST:
		CheckJson(ListVector::GetChild(values), ListVector::GetListSize(values));
		break;
	case PhysicalType::ARRAY:
		CheckJson(ArrayVector::GetChild(values), count * ArrayType::GetSize(values.GetType()));
		break;
	case PhysicalType::STRUCT:
		for (auto &entry : StructVector::GetEntries(values)) {
			CheckJson(entry, count);
		}
		break;
	default:
		throw InternalException("a type holds JSON in a way that is not known");
	}
}

//! Throws if a VARIANT that was just made has too many levels.
void CheckVariants(const Vector &made, idx_t first, idx_t count) {
	auto variants = Vector::Ref(made);
	variants.Flatten();
	if (auto wrong = WrongVariant(variants, count, first)) {
		throw InvalidInputException("VARIANT: %s", wrong);
	}
}

//! A cast to VARIANT of a type that has JSON or VARIANTs inside.
struct LimitedCast : public BoundCastData {
	explicit LimitedCast(BoundCastInfo native_p, bool has_json, bool has_variants)
	    : native(std::move(native_p)), has_json(has_json), has_variants(has_variants) {
	}
	unique_ptr<BoundCastData> Copy() const override {
		return make_uniq<LimitedCast>(native.Copy(), has_json, has_variants);
	}

	BoundCastInfo native;
	bool has_json;
	bool has_variants;
};

bool CastWithinLimit(Vector &source, Vector &result, idx_t count, CastParameters &parameters) {
	auto &cast = parameters.cast_data->Cast<LimitedCast>();
	if (cast.has_json) {
		CheckJson(Vector::Ref(source), count);
	}
	CastParameters native(parameters, cast.native.GetCastData(), parameters.local_state);
	auto all_are_cast = cast.native.Cast(source, result, count, native);
	if (cast.has_variants) {
		CheckVariants(result, 0, count);
	}
	return all_are_cast;
}

unique_ptr<FunctionLocalState> BeginCast(CastLocalStateParameters &parameters) {
	auto &native = parameters.cast_data->Cast<LimitedCast>().native;
	CastLocalStateParameters inner(parameters, native.GetCastData());
	return native.InitLocalState(inner);
}

BoundCastInfo BindLimitedCast(BindCastInput &input, const LogicalType &source, const LogicalType &target) {
	if (target.id() != LogicalTypeId::VARIANT) {
		return BoundCastInfo(nullptr);
	}
	auto has_json = HasJson(source);
	auto has_variants = TypeVisitor::Contains(source, LogicalTypeId::VARIANT);
	if (!has_json && !has_variants) {
		return BoundCastInfo(nullptr);
	}
	auto native = DefaultCasts::GetDefaultCastFunction(input, source, target);
	auto cast = make_uniq<LimitedCast>(std::move(native), has_json, has_variants);
	return BoundCastInfo(CastWithinLimit, std::move(cast), BeginCast);
}

//! Lets a function check its arguments, which are JSON, before it reads them.
void CheckArguments(ScalarFunction &function) {
	function.SetFunctionCallback(
	    [native = function.GetFunctionCallback()](DataChunk &arguments, ExpressionState &state, Vector &result) {
		    for (auto &argument : arguments.data) {
			    CheckTexts(argument, arguments.size());
		    }
		    native(arguments, state, result);
	    });
}

//! Of functions that take the structure of JSON.
unique_ptr<FunctionData> BindStructure(BindScalarFunctionInput &input) {
	auto structure = input.GetConstant(1);
	if (!structure.IsNull()) {
		auto text = structure.ToString();
		CheckText(string_t(text));
	}
	return BindNatively(input);
}

idx_t LambdasWithin(const Expression &expression) {
	if (expression.GetExpressionClass() == ExpressionClass::BOUND_LAMBDA) {
		return 1 + LambdasWithin(*expression.Cast<BoundLambdaExpression>().LambdaExpr());
	}
	idx_t most = 0;
	ExpressionIterator::EnumerateChildren(
	    expression, [&](const Expression &child) { most = MaxValue(most, LambdasWithin(child)); });
	return most;
}

unique_ptr<FunctionData> BindLambda(BindScalarFunctionInput &input) {
	for (auto &argument : input.GetArguments()) {
		if (LambdasWithin(*argument) > LAMBDAS_MAX) {
			throw BinderException("more than %llu lambdas within one another", LAMBDAS_MAX);
		}
	}
	return BindNatively(input);
}

aggregate_finalize_t native_group_object = nullptr;

void FinishGroupObject(Vector &state, AggregateFinalizeInputData &input, Vector &result, idx_t count, idx_t offset) {
	native_group_object(state, input, result, count, offset);
	CheckVariants(result, offset, offset + count);
}

void LimitGroupObject(ExtensionLoader &loader) {
	auto found = SystemFunction(loader, CatalogType::AGGREGATE_FUNCTION_ENTRY, "variant_group_object");
	if (!found) {
		return;
	}
	auto &entry = found->Cast<AggregateFunctionCatalogEntry>();
	auto info = InfoOf<CreateAggregateFunctionInfo>(entry);
	info.functions.ApplyToFunctions([](AggregateFunction &function) {
		native_group_object = function.GetStateFinalizeCallback();
		function.SetStateFinalizeCallback(FinishGroupObject);
	});
	loader.RegisterFunction(std::move(info));
}

} // namespace

void LimitNesting(ExtensionLoader &loader) {
	CastProvidersOf(CastFunctionSet::Get(loader.GetDatabaseInstance())).emplace_back(BindLimitedCast);
	ChangeScalar(loader, "json_contains", CheckArguments);
	ChangeScalar(loader, "json_deserialize_sql", CheckArguments);
	for (auto name : {"json_transform", "json_transform_strict", "from_json", "from_json_strict"}) {
		CheckBefore(loader, name, BindStructure);
	}
	for (auto name : {"list_transform", "array_transform", "list_apply", "array_apply", "apply", "list_filter", "array_filter",
	                  "filter", "list_reduce", "array_reduce", "reduce", "invoke"}) {
		CheckBefore(loader, name, BindLambda);
	}
	LimitGroupObject(loader);
}

} // namespace quack
